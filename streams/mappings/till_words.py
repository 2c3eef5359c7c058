"""The abbreviations on the tills of The Complete Journey written out, for people and for text encoders."""

import re
from functools import lru_cache
from typing import Final

from streams.mappings.naming import title_case

_PHRASES: Final = {
    "DRUG GM": "DRUGSTORE",
    "BEERALEMALT": "BEER, ALE AND MALT",
    "SAUCESSALSAPICANTEE": "SAUCES, SALSA, PICANTE",
    "PNT BTR": "PEANUT BUTTER",
    "CHOCOCLATE": "CHOCOLATE",
    "SPECILATY": "SPECIALTY",
    "PROTIEN": "PROTEIN",
}
_WORDS: Final = {
    "BG": "BAG",
    "BKD": "BAKED",
    "BKG": "BAKING",
    "BN": "BEAN",
    "BR": "BAR",
    "BRD": "BREADED",
    "BRKFST": "BREAKFAST",
    "BTL": "BOTTLE",
    "BTR": "BUTTER",
    "CARB": "CARBONATED",
    "CHIX": "CHICKEN",
    "CND": "CANNED",
    "CNDY": "CANDY",
    "CNTRL": "CONTROL",
    "CRBNTD": "CARBONATED",
    "CRMD": "CREAMED",
    "CRYSTL": "CRYSTAL",
    "DNR": "DINNER",
    "DNRS": "DINNERS",
    "DRNK": "DRINK",
    "DRNKNG": "DRINKING",
    "DRNKS": "DRINKS",
    "DRSNG": "DRESSING",
    "DSH": "DISH",
    "EXCL": "EXCLUDING",
    "FD": "FOOD",
    "FLVR": "FLAVOR",
    "FLVRD": "FLAVORED",
    "FRD": "FRIED",
    "FRZ": "FROZEN",
    "FRZN": "FROZEN",
    "GDS": "GOODS",
    "GRND": "GROUND",
    "HYGN": "HYGIENE",
    "INCL": "INCLUDING",
    "MISC": "MISCELLANEOUS",
    "MLK": "MILK",
    "MLT": "MULTI",
    "MNRL": "MINERAL",
    "MX": "MIX",
    "MXS": "MIXES",
    "OJ": "ORANGE JUICE",
    "PCKGD": "PACKAGED",
    "PK": "PACK",
    "PKG": "PACKAGE",
    "PKGD": "PACKAGED",
    "PKLD": "PICKLED",
    "PLSTC": "PLASTIC",
    "PNCH": "PUNCH",
    "PWDR": "POWDER",
    "PWDRS": "POWDERS",
    "REFRGRATD": "REFRIGERATED",
    "RW": "RAW",
    "SFT": "SOFT",
    "SGL": "SINGLE",
    "SNDWCH": "SANDWICH",
    "SNGL": "SINGLE",
    "SNKS": "SNACKS",
    "SPLY": "SUPPLY",
    "SPRD": "SPREAD",
    "SRV": "SERVE",
    "STK": "STICK",
    "SV": "SERVE",
    "SW": "SWEET",
    "SWT": "SWEET",
    "SYRP": "SYRUP",
    "TRSH": "TRASH",
    "VEG": "VEGETABLES",
    "WHL": "WHOLE",
    "WHLSM": "WHOLESOME",
    "WTR": "WATER",
}
_WORD: Final = re.compile(r"[A-Z]+")


@lru_cache(maxsize=10_000)
def readable(text: str) -> str:
    """`FRZN PIZZA/ECONOMY` as `Frozen Pizza/Economy`."""
    for short, long in _PHRASES.items():
        text = text.replace(short, long)
    return title_case(_WORD.sub(lambda match: _WORDS.get(match.group(), match.group()), text))
