"""JSON in the answers of a language model, and the schema that it is asked by."""

import re
from typing import Any, Final, TypeVar

import msgspec

from infra.errors import AnswerUnusable

Answer = TypeVar("Answer")
_THOUGHT: Final = re.compile(r"<think>.*?</think>", re.DOTALL)
_OURS: Final = frozenset({"minLength", "maxLength", "title", "default"})
_BY_NAME: Final = frozenset({"properties", "$defs"})


def answered(text: str, decoder: "msgspec.json.Decoder[Answer]") -> Answer:
    """The JSON object in an answer: alone, in a code fence, or behind a thought.

    Raises:
        AnswerUnusable: there is none (`answer_cut` if it only begins), or it is not of the shape asked for.
    """
    text = _THOUGHT.sub("", text)
    begin, end = text.find("{"), text.rfind("}")
    if begin < 0:
        raise AnswerUnusable("the answer holds no JSON", code="answer_no_json")
    try:
        return decoder.decode(text[begin : end + 1].encode())
    except msgspec.ValidationError as error:
        raise AnswerUnusable(f"the answer has another shape: {error}", code="answer_wrong_shape") from None
    except (msgspec.DecodeError, UnicodeEncodeError):
        cut = text.count("{") > text.count("}")
        raise AnswerUnusable("the answer is no JSON", code="answer_cut" if cut else "answer_no_json") from None


def schema_of(answer: type) -> dict[str, Any]:
    """The JSON Schema to ask for answers of a type; its root is the object itself, as some servers want it."""
    schema = msgspec.json.schema(answer)
    root = schema.pop("$ref", "").rpartition("/")[2]
    whole = schema["$defs"].pop(root) | schema if root else schema
    sent: dict[str, Any] = sent_schema(whole)
    return sent


def sent_schema(schema: Any) -> Any:
    """A JSON Schema as strict servers take it: lengths of texts are not theirs to keep; we check them ourselves."""
    if isinstance(schema, dict):
        kept = {name: _part(name, value) for name, value in schema.items() if name not in _OURS}
        if kept.get("type") == "object" and "properties" in kept:
            kept["required"] = list(kept["properties"])
            kept["additionalProperties"] = False
        return kept
    return [sent_schema(one) for one in schema] if isinstance(schema, list) else schema


def _part(name: str, value: Any) -> Any:
    """What stands under a word of the schema's language; `properties` and `$defs` hold names, not words."""
    if name in _BY_NAME:
        return {own: sent_schema(each) for own, each in value.items()}
    return sent_schema(value)
