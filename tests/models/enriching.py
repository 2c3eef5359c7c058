"""Items to enrich, and a scripted model that answers from rules, with noise."""

import json
import random
from typing import Any

import httpx

from features.catalog import Content, Item
from features.reviews import Review
from infra.errors import DaogouError
from infra.llm import Question, Reply
from infra.llm_limits import Usage
from models.enrichment_prompt import data_in
from models.enrichment_reading import Reading, reading_of
from models.enrichment_rules import by_rules
from tests.llm_double import Asked, Script, completion


def item(name: str, description: str = "", item_id: str = "i1", brand: str | None = None, **attributes: str) -> Item:
    content = Content(name=name, description=description, brand=brand, attributes=attributes)
    return Item(item_id=item_id, content=content)


def shop(count: int) -> list[Reading]:
    """Items with texts of their own."""
    colours = ("Red", "Blue", "Green", "Black")
    return [reading_of(item(f"{colours[n % 4]} Cotton Dress Model {n}", item_id=f"i{n}")) for n in range(count)]


def answer_of(reading: Reading, **other: Any) -> str:
    """An answer that every check lets pass: what rules say, in the shape of a model's answer."""
    made = by_rules(reading)
    said: dict[str, Any] = {
        "attributes": [{"name": one.name, "value": str(one.value)[:60]} for one in made.attributes],
        "phrases_zh": [one.text[:60] for one in made.phrases if one.language == "zh"],
        "phrases_en": [one.text[:60] for one in made.phrases if one.language == "en"],
        "description_zh": next((one.text[:400] for one in made.descriptions if one.language == "zh"), ""),
        "description_en": next((one.text[:800] for one in made.descriptions if one.language == "en"), ""),
    }
    return json.dumps(said | other, ensure_ascii=False)


def read_from(user: str) -> Reading:
    """The reading that a question shows."""
    data = data_in(user)
    shown = Content(
        name=data.get("name", ""),
        description=data.get("description", ""),
        brand=data.get("brand"),
        categories=tuple(data.get("categories", ())),
        attributes=data.get("attributes", {}),
    )
    reviews = [Review(one["text"], one["rating"]) for one in data.get("reviews", ())]
    return reading_of(Item(item_id="shown", content=shown), reviews)


def from_rules(noise: float = 0.0, seed: int = 1) -> Script:
    """Answers like `answer_of`. Noise: that share of attributes is lost, as many are made up, of answers nonsense."""

    def script(asked: Asked) -> httpx.Response:
        user = asked["messages"][1]["content"]
        draw = random.Random(f"{seed}{user}")
        if draw.random() < noise:
            return completion("I am sorry, here is a poem about tea.")
        said = json.loads(answer_of(read_from(user)))
        kept = [one for one in said["attributes"] if draw.random() >= noise]
        made_up = [{"name": "material", "value": "unobtainium"}] if draw.random() < noise else []
        return completion(json.dumps(said | {"attributes": kept + made_up}, ensure_ascii=False))

    return script


class Told:
    """A model that answers by a function, in the process; it counts how often each text was asked."""

    name = "told"

    def __init__(self, answer: Any) -> None:
        self._answer = answer
        self.asked: list[str] = []

    async def ask(self, question: Question) -> Reply:
        self.asked.append(question.user)
        said = self._answer(question)
        if isinstance(said, DaogouError | BaseException):
            raise said
        return Reply(said, Usage(10, 10))


def honest(question: Question) -> str:
    return answer_of(read_from(question.user))
