"""A vocabulary as a table, and the two ways through it: an event into our names, a refused field back into theirs.

A path is dotted, `properties.products`; a number in it counts in an array. A last `*` in a step stands for the digits
of a schema's version. Of several paths the first counts at which there is something; senders write `null`, an empty
text or an empty array for nothing.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, NamedTuple

from features.aliases.readers import READERS
from infra.errors import BadInput

Paths = tuple[str, ...]

_ROOT: Final = "/"  # begins the path of a line's field that stands in the event, beside the lines
_LINE: Final = re.compile(r"items\[(\d+)\](?:\.(\w+))?")
_INNER: Final = re.compile(r"[.\[]")
_VERSION: Final = re.compile(r"\d[\d_]*")
_NOT_A_LETTER: Final = re.compile(r"[^a-z0-9]+")
_NOTHING: Final[tuple[Any, ...]] = (None, "", [])


@dataclass(frozen=True)
class Vocabulary:
    """Where the parts of an event stand.

    `names` are the sender's events and ours; case, spaces and hyphens do not matter. `fields` are ours, with `context`
    written flat. `lines` is where items stand: an array, one object or one id; of `shown` only an impression is made.
    `line` holds paths inside of one line, or from the event's root with a leading slash. With one of `corrected`
    there, the time was corrected on its way and `sent_at` says nothing more.
    """

    title: str
    name: Paths
    names: Mapping[str, str]
    fields: Mapping[str, Paths]
    lines: Paths
    line: Mapping[str, Paths]
    shown: Paths = ()
    corrected: Paths = ()
    read: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)

    @cached_property
    def known(self) -> Mapping[str, str]:
        """`names`, by what matters of a name."""
        return {simple(theirs): ours for theirs, ours in self.names.items()}

    @cached_property
    def readers(self) -> Mapping[str, Callable[[Any], Any]]:
        """How each field is read."""
        return {**READERS, **self.read}


class _Lines(NamedTuple):
    """The lines of an event as an array, or what stands there instead of one; `alone`: one line without an array."""

    found: Any
    place: str
    alone: bool


def simple(name: str) -> str:
    """What matters of an event's name: its letters and digits."""
    return _NOT_A_LETTER.sub("", name.casefold())


def translated(vocabulary: Vocabulary, obj: Mapping[str, Any]) -> dict[str, Any]:
    """The event in our names. A name that is unknown, and values of wrong types, are left for the check of ours."""
    name = find(obj, vocabulary.name)[0]
    fields: dict[str, Any] = {"event_name": vocabulary.known.get(simple(name), name) if isinstance(name, str) else name}
    for ours, value in _read(vocabulary, vocabulary.fields, obj, obj):
        outer, _, inner = ours.partition(".")
        if inner:
            fields.setdefault(outer, {})[inner] = value
        else:
            fields[ours] = value
    lines = _lines(vocabulary, obj, fields["event_name"]).found
    if lines is not None:
        fields["items"] = [_line(vocabulary, obj, line) for line in lines] if isinstance(lines, list) else lines
    if any(path in obj for path in vocabulary.corrected):
        fields.pop("sent_at", None)
    if "currency" not in fields:
        fields.pop("value", None)  # a number without a currency is no amount of money
    if fields["event_name"] != "consent_updated":
        fields.pop("consent", None)  # some repeat the consent in force in every event
    return fields


def in_their_words(vocabulary: Vocabulary, obj: Mapping[str, Any], error: BadInput) -> BadInput:
    """The error with the path at which the sender finds the field."""
    if not error.path or type(error) is not BadInput:
        return error
    theirs = _their_path(vocabulary, obj, error.path)
    if error.path == "event_name":
        message = (
            f"{theirs} must be one of {', '.join(vocabulary.names)}; {vocabulary.title}'s other events say nothing."
        )
    else:
        message = f"{error.message} ({theirs} of {vocabulary.title} is our {error.path}.)"
    return BadInput(message, path=theirs, code=error.reason)


def find(obj: Any, paths: Paths) -> tuple[Any, str]:
    """The first value that is there, and its path: `products[2].price`. Nothing has the first path."""
    for path in paths:
        value, place = _at(obj, path)
        if value not in _NOTHING:
            return value, place
    return None, _at(obj, paths[0])[1]


def _at(obj: Any, path: str) -> tuple[Any, str]:
    place = ""
    for step in path.split(".") if path else ():
        if step.isdigit():
            obj = obj[int(step)] if isinstance(obj, list) and int(step) < len(obj) else None
            place += f"[{step}]"
            continue
        name = _versioned(obj, step[:-1]) if step.endswith("*") else step
        obj = obj.get(name) if isinstance(obj, dict) else None
        place += f".{name}" if place else name
    return obj, place


def _versioned(obj: Any, start: str) -> str:
    names = (name for name in obj if name.startswith(start)) if isinstance(obj, dict) else ()
    return next((name for name in names if _VERSION.fullmatch(name[len(start) :])), start + "1")


def _read(
    vocabulary: Vocabulary, table: Mapping[str, Paths], obj: Mapping[str, Any], inside: Any
) -> Iterator[tuple[str, Any]]:
    for ours, paths in table.items():
        value, _ = find(*_scope(paths, obj, inside))
        if value is not None:
            reader = vocabulary.readers.get(ours)
            yield ours, reader(value) if reader else value


def _scope(paths: Paths, obj: Mapping[str, Any], inside: Any) -> tuple[Any, Paths]:
    """Where to look: inside of the line, or for a path from the root in the event."""
    if paths[0].startswith(_ROOT):
        return obj, tuple(path.removeprefix(_ROOT) for path in paths)
    return inside, paths


def _lines(vocabulary: Vocabulary, obj: Mapping[str, Any], name: object) -> _Lines:
    paths = (*vocabulary.lines, *vocabulary.shown) if name == "view_item_list" else vocabulary.lines
    for path in paths:
        value, place = _at(obj, path)
        if value in _NOTHING or (isinstance(value, dict) and find(value, vocabulary.line["item_id"])[0] is None):
            continue
        alone = isinstance(value, dict | str | int)
        return _Lines([value] if alone else value, place, alone)
    return _Lines(None, _at(obj, paths[0])[1], alone=False)


def _line(vocabulary: Vocabulary, obj: Mapping[str, Any], line: Any) -> Any:
    if not isinstance(line, dict | str | int):
        return line
    fields = dict(_read(vocabulary, vocabulary.line, obj, line))
    return fields if isinstance(line, dict) else {**fields, "item_id": vocabulary.readers["item_id"](line)}


def _their_path(vocabulary: Vocabulary, obj: Mapping[str, Any], ours: str) -> str:
    if ours == "event_name":
        return find(obj, vocabulary.name)[1]
    at = _LINE.match(ours)
    if at is None and ours != "items":
        known = ours if ours in vocabulary.fields else _INNER.split(ours)[0]
        return find(obj, vocabulary.fields.get(known, (known,)))[1]
    lines = _lines(vocabulary, obj, translated(vocabulary, obj)["event_name"])
    if at is None:
        return lines.place
    place = lines.place if lines.alone else f"{lines.place}[{at[1]}]"
    return _path_in_line(vocabulary, obj, lines.found[int(at[1])], place, at[2])


def _path_in_line(vocabulary: Vocabulary, obj: Mapping[str, Any], line: Any, place: str, ours: str | None) -> str:
    if ours is None:
        return place
    scope, paths = _scope(vocabulary.line.get(ours, (ours,)), obj, line)
    inner = find(scope, paths)[1]
    if scope is obj:
        return inner
    return f"{place}.{inner}" if isinstance(line, dict) else place
