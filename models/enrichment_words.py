"""Words of shops, English and Chinese, by what they say of an item. The first of each list names it to people."""

from typing import Final

from features.catalog import AttributeName

WORDS: Final[dict[AttributeName, dict[str, tuple[str, str]]]] = {
    "colour": {
        "black": ("black", "黑色|黑|纯黑|黑白"),
        "white": ("white", "白色|白|纯白|米白色|黑白"),
        "red": ("red|crimson|scarlet", "红色|红|大红|大红色|酒红色"),
        "blue": ("blue|navy|turquoise", "蓝色|蓝|天蓝|天蓝色|深蓝|深蓝色|藏青色|藏青"),
        "green": ("green|olive", "绿色|绿|墨绿色|墨绿|军绿色"),
        "yellow": ("yellow", "黄色|黄|姜黄色"),
        "orange": ("orange", "橙色|橘色|橘红色"),
        "pink": ("pink|magenta|fuchsia", "粉色|粉红色|粉红|玫红色|玫红"),
        "purple": ("purple|violet|lavender", "紫色|紫|淡紫色"),
        "brown": ("brown|tan|chestnut", "棕色|咖啡色|褐色|驼色"),
        "grey": ("grey|gray|charcoal", "灰色|灰|深灰色|浅灰色"),
        "beige": ("beige|ivory|cream-colored", "米色|杏色|卡其色|卡其"),
        "gold": ("gold|golden", "金色|土豪金"),
        "silver": ("silver", "银色"),
        "clear": ("clear|transparent", "透明"),
        "multicolour": (
            "multicolor|multicolour|multi-color|tri-color|assorted colors|assorted color|assorted colours|assorted",
            "彩色|多色|混色|五颜六色",
        ),
    },
    "material": {
        "cotton": ("cotton", "棉|纯棉|全棉|棉质"),
        "linen": ("linen|flax", "亚麻|棉麻|麻"),
        "silk": ("silk", "真丝|桑蚕丝|丝绸"),
        "wool": ("wool|woolen|cashmere", "羊毛|羊绒|毛呢"),
        "leather": ("leather|leatherette", "皮革|真皮|牛皮|皮质|PU皮"),
        "polyester": ("polyester", "涤纶|聚酯纤维"),
        "nylon": ("nylon", "尼龙|锦纶"),
        "plastic": ("plastic|vinyl|polypropylene|pvc|poly", "塑料|PVC|聚丙烯"),
        "paper": ("paper|cardstock", "纸|纸质|牛皮纸"),
        "cardboard": ("cardboard|corrugated", "纸板|瓦楞"),
        "wood": ("wood|wooden|bamboo", "木|实木|木质|竹|竹子"),
        "metal": ("metal|metallic|alloy|magnesium", "金属|合金"),
        "steel": ("steel|stainless steel", "不锈钢|钢"),
        "aluminium": ("aluminum|aluminium", "铝合金|铝"),
        "glass": ("glass", "玻璃"),
        "ceramic": ("ceramic|porcelain", "陶瓷|瓷"),
        "silicone": ("silicone", "硅胶"),
        "rubber": ("rubber|rubberized", "橡胶"),
        "cork": ("cork", "软木"),
        "foam": ("foam", "泡沫|海绵"),
        "denim": ("denim", "牛仔|牛仔布"),
        "chiffon": ("chiffon", "雪纺"),
        "lace": ("lace", "蕾丝"),
    },
    "pattern": {
        "striped": ("striped|stripes", "条纹"),
        "checked": ("checked|plaid|gingham", "格子|格纹"),
        "floral": ("floral|flowers", "碎花|印花"),
        "dotted": ("polka dot|dotted", "波点|圆点"),
        "plain": ("plain|solid color", "纯色"),
        "ruled": ("ruled|lined", "横线"),
        "galaxy": ("galaxy", "星空"),
    },
    "audience": {
        "women": ("women|womens|ladies|moms", "女士|女|女式|女款|女装|妈妈"),
        "men": ("men|mens", "男士|男|男式|男款|男装"),
        "children": ("children|childrens|kids|toddler|toddlers", "儿童|童|男童|女童|宝宝"),
        "babies": ("baby|babies|infant", "婴儿|婴幼儿|新生儿"),
        "students": ("student|students|school|classroom", "学生|中小学生"),
        "pets": ("dog|dogs|cat|cats|pet|pets", "宠物|狗狗|猫咪"),
    },
    "style": {
        "vintage": ("vintage|retro", "复古"),
        "classic": ("classic", "经典"),
        "modern": ("modern|contemporary", "现代|简约"),
        "casual": ("casual", "休闲"),
        "handmade": ("handmade|handcrafted", "手工"),
    },
    "feature": {
        "waterproof": ("waterproof|water-resistant|water resistant", "防水"),
        "rechargeable": ("rechargeable", "充电|可充电"),
        "foldable": ("foldable|folding|collapsible", "折叠|可折叠"),
        "adjustable": ("adjustable", "可调节|可调"),
        "wireless": ("wireless|cordless", "无线"),
        "self-adhesive": ("self-adhesive|self adhesive|self-stick|adhesive", "自粘|背胶"),
        "magnetic": ("magnetic", "磁性|磁吸"),
        "refillable": ("refillable|refill|refills", "替换芯|替芯|补充装"),
        "high yield": ("high yield|high-yield", "大容量"),
        "recycled": ("recycled", "再生"),
        "erasable": ("erasable|dry erase|dry-erase", "可擦"),
        "insulated": ("insulated", "保温"),
        "breathable": ("breathable", "透气"),
        "non-slip": ("non-slip|non slip|nonslip", "防滑"),
    },
    "size": {
        "letter": ("letter size|letter-size|letter", "信纸大小"),
        "legal": ("legal size|legal-size", "法律文书大小"),
        "A4": ("a4", "A4"),
        "A5": ("a5", "A5"),
        "large": ("large", "大号|加大"),
        "small": ("small|mini|pocket", "小号|迷你"),
    },
    "type": {
        "dress": ("dress", "连衣裙|裙子|长裙"),
        "shirt": ("shirt|blouse", "衬衫|衬衣"),
        "T-shirt": ("t-shirt|tee", "T恤"),
        "trousers": ("trousers|pants", "裤子|长裤|休闲裤"),
        "jacket": ("jacket|coat", "外套|夹克|大衣"),
        "shoes": ("shoes|sneakers", "鞋|运动鞋|鞋子"),
        "bag": ("bag|handbag|tote", "包|手提包|袋子"),
        "backpack": ("backpack", "背包|双肩包|书包"),
        "cup": ("cup|mug", "杯|杯子|水杯|保温杯"),
        "teapot": ("teapot", "茶壶"),
        "tea": ("tea", "茶|茶叶|绿茶|红茶"),
        "coffee": ("coffee", "咖啡"),
        "lamp": ("lamp", "灯|台灯"),
        "towel": ("towel", "毛巾|浴巾"),
        "pen": ("pen|pens|ballpoint", "笔|中性笔|圆珠笔|钢笔"),
        "pencil": ("pencil|pencils", "铅笔"),
        "marker": ("marker|markers|highlighter|highlighters", "记号笔|马克笔|荧光笔"),
        "notebook": ("notebook|notebooks|journal", "笔记本|本子|记事本"),
        "binder": ("binder|binders", "活页夹"),
        "folder": ("folder|folders", "文件夹"),
        "envelope": ("envelope|envelopes", "信封"),
        "label": ("label|labels", "标签|标签纸"),
        "sticky notes": ("sticky notes|post-it", "便利贴|便签"),
        "tape": ("tape|tapes", "胶带|胶布"),
        "scissors": ("scissors", "剪刀"),
        "stapler": ("stapler|staplers", "订书机"),
        "staples": ("staples", "订书钉"),
        "glue": ("glue", "胶水"),
        "ink cartridge": ("ink cartridge|ink cartridges|ink", "墨盒|墨水"),
        "toner": ("toner|toner cartridge", "硒鼓|碳粉"),
        "printer": ("printer|printers", "打印机"),
        "calculator": ("calculator|calculators", "计算器"),
        "telephone": ("telephone|phone|cordless phone", "电话|电话机"),
        "phone case": ("phone case", "手机壳|手机套"),
        "mouse pad": ("mouse pad|mousepad", "鼠标垫"),
        "chair": ("chair|chairs", "椅子|办公椅"),
        "desk": ("desk|desks", "书桌|办公桌"),
        "calendar": ("calendar|calendars", "日历|台历"),
        "planner": ("planner|planners", "日程本|手账"),
        "whiteboard": ("whiteboard|dry erase board", "白板"),
        "greeting card": ("greeting card|greeting cards|card", "贺卡"),
        "eraser": ("eraser|erasers", "橡皮"),
        "headphones": ("headphones|earphones", "耳机"),
        "toy": ("toy|toys", "玩具"),
        "quilt": ("quilt|duvet", "被子"),
        "pillow": ("pillow|pillows", "枕头|抱枕"),
    },
}  # fmt: skip

UNITS: Final[dict[AttributeName, dict[str, str]]] = {
    "weight": {
        "kg": "kg|千克|公斤", "g": "g|克|grams?", "lb": "lbs?|pounds?|磅", "oz": "oz|ounces?|盎司", "jin": "斤",
    },
    "volume": {"ml": "ml|毫升", "l": "l|liters?|litres?|升", "fl oz": "fl\\.? ?oz"},
    "size": {"cm": "cm|厘米", "mm": "mm|毫米", "inch": "inch(?:es)?|in\\.|英寸|\"|''|”", "m": "米", "ft": "ft|feet"},
}  # fmt: skip

_STOP: Final = (
    "a an and are as at be by can for from has in into is it its more of on or our that the their these this to up use "
    "used was we when will with you your not all any each which who made also other item product"
)
_ENGLISH: Final = "a an and are for from has in is it of on or that the this to with made comes by"
_OTHER_LATIN: Final = (
    "le la les des une du et pour avec dans sur der das und mit für ein eine ist el los las con para una es "
    "por il gli di che não um uma della sono"
)
STOP: Final = frozenset(_STOP.split())
"""English words that say nothing of an item."""

ENGLISH: Final = frozenset(_ENGLISH.split())
OTHER_LATIN: Final = frozenset(_OTHER_LATIN.split())
"""Words by which a text in Latin letters shows that it is not English."""
