"""What a change of a schema breaks: pure rules, by which a version of an event only ever grows.

A changed schema must take everything that the old one took and read it as the old one did. So no field goes,
none becomes required, no type, bound, form or list of values becomes narrower, no default changes.
"""

from collections.abc import Iterator
from typing import Any, Final

Schema = dict[str, Any]

_AT_MOST: Final = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_AT_LEAST: Final = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_FORMS: Final = ("pattern", "format", "multipleOf", "uniqueItems")


def breaks(old: Schema, new: Schema) -> list[str]:
    """Every reason why what `old` took would be refused, or read differently, by `new`; empty: compatible."""
    return list(dict.fromkeys(_Change(old, new).breaks("", old, new)))


class _Change:
    """Two documents, in which references are looked up."""

    def __init__(self, old: Schema, new: Schema) -> None:
        self._old = old
        self._new = new

    def breaks(self, path: str, old: Schema, new: Schema) -> Iterator[str]:
        old, new = _followed(old, self._old), _followed(new, self._new)
        yield from _default(path, old, new)
        base_of_new, ways_of_new = _ways(new)
        for way in _taken(old):
            yield from self._narrower(path, way, base_of_new, whole=not ways_of_new)
            found = [list(self._narrower(path, way, _followed(one, self._new), whole=False)) for one in ways_of_new]
            if found and all(found):
                # A way of the same type, if there is one, tells best what is wrong.
                of_type = f"{_at(path)}: its type"
                yield from min(found, key=lambda each: (each[0].startswith(of_type), len(each)))

    def _narrower(self, path: str, old: Schema, new: Schema, *, whole: bool) -> Iterator[str]:
        """Without alternatives in either. `whole`: the new one names all the fields that there are."""
        old = _followed(old, self._old)
        other_type = list(_types(path, old, new))
        if other_type:
            yield from other_type
            return
        yield from _values(path, old, new)
        yield from _bounds(path, old, new)
        yield from _required(path, old, new)
        if whole or "properties" in new:
            yield from self._fields(path, old, new)
        for inner, at in (("items", f"{path}[]"), ("propertyNames", f"{path} (names)")):
            if inner in new:
                yield from self.breaks(at, old.get(inner, {}), new[inner])
        yield from self._other_fields(path, old, new)

    def _fields(self, path: str, old: Schema, new: Schema) -> Iterator[str]:
        of_new = new.get("properties", {})
        for name, field in old.get("properties", {}).items():
            at = f"{path}.{name}" if path else name
            if name not in of_new:
                yield f"{at}: the field is gone"
            else:
                yield from self.breaks(at, field, of_new[name])

    def _other_fields(self, path: str, old: Schema, new: Schema) -> Iterator[str]:
        was, now = old.get("additionalProperties", True), new.get("additionalProperties", True)
        if now is False and was is not False:
            yield f"{_at(path)}: fields that are not named are refused now"
        elif isinstance(now, dict) and was is not False:
            yield from self.breaks(f"{path}.*", was if isinstance(was, dict) else {}, now)


def _ways(schema: Schema) -> tuple[Schema, list[Schema]]:
    """What always holds, and the alternatives of which one must hold besides."""
    return {key: value for key, value in schema.items() if key != "anyOf"}, schema.get("anyOf", [])


def _taken(schema: Schema) -> list[Schema]:
    """The kinds of values that a schema takes: each alternative with what always holds."""
    base, ways = _ways(schema)
    both = [{**base, **way, "required": [*base.get("required", ()), *way.get("required", ())]} for way in ways]
    return both or [base]


def _followed(schema: Schema, document: Schema) -> Schema:
    """What a reference within the document points to; others (`event.json`) have a comparison of their own."""
    reference = schema.get("$ref", "")
    if not reference.startswith("#/"):
        return schema
    found: Any = document
    for part in reference[2:].split("/"):
        found = found[part]
    more = {key: value for key, value in schema.items() if key != "$ref"}
    if "required" in more:
        more["required"] = [*found.get("required", ()), *more["required"]]
    return {**found, **more}


def _default(path: str, old: Schema, new: Schema) -> Iterator[str]:
    if "default" in old and old["default"] != new.get("default", ...):
        yield f"{_at(path)}: the default was {old['default']!r}: what does not name it would mean something else"


def _values(path: str, old: Schema, new: Schema) -> Iterator[str]:
    was, now = _listed(old), _listed(new)
    if now is None:
        return
    if was is None:
        yield f"{_at(path)}: only listed values are taken now"
    else:
        gone = [value for value in was if value not in now]
        if gone:
            yield f"{_at(path)}: {', '.join(map(repr, gone))} is gone from the values"


def _types(path: str, old: Schema, new: Schema) -> Iterator[str]:
    now = new.get("type")
    if now is None:
        return
    was = old.get("type") or _type_of_values(old)
    taken = {*_many(now), *(("integer",) if "number" in _many(now) else ())}
    if not was or not set(_many(was)) <= taken:
        yield f"{_at(path)}: its type was {_words(was)} and is {_words(now)} now"


def _bounds(path: str, old: Schema, new: Schema) -> Iterator[str]:
    for name in _AT_MOST:
        if name in new and (name not in old or new[name] < old[name]):
            yield f"{_at(path)}: {name} was {old.get(name, 'none')} and is {new[name]} now"
    for name in _AT_LEAST:
        if name in new and (name not in old or new[name] > old[name]):
            yield f"{_at(path)}: {name} was {old.get(name, 'none')} and is {new[name]} now"
    for name in _FORMS:
        if name in new and new[name] != old.get(name):
            yield f"{_at(path)}: {name} was {old.get(name, 'none')} and is {new[name]} now"


def _required(path: str, old: Schema, new: Schema) -> Iterator[str]:
    for name in new.get("required", ()):
        if name not in old.get("required", ()):
            yield f"{path}.{name}: it is required now".removeprefix(".")
    was, now = old.get("dependentRequired", {}), new.get("dependentRequired", {})
    for name, needed in now.items():
        for one in needed:
            if one not in was.get(name, ()):
                yield f"{path}.{one}: it is required now wherever {name} is given".removeprefix(".")


def _listed(schema: Schema) -> list[Any] | None:
    return [schema["const"]] if "const" in schema else schema.get("enum")


def _type_of_values(schema: Schema) -> str | None:
    values = _listed(schema)
    return "string" if values and all(isinstance(value, str) for value in values) else None


def _many(kinds: Any) -> list[str]:
    return list(kinds) if isinstance(kinds, list) else [kinds]


def _words(kinds: Any) -> str:
    return " or ".join(_many(kinds)) if kinds else "any"


def _at(path: str) -> str:
    return path or "the event"
