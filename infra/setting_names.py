"""Names of settings that are nobody's: a misspelt one would quietly leave the default in force."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

from infra.settings import Settings

_PREFIX: Final = "DAOGOU_"
# Given to Feast's own command line, which reads them in features/repo/feature_store.yaml.
_OTHERS: Final = frozenset(f"DAOGOU_FEAST_{name}" for name in ("OFFLINE", "PROJECT", "REDIS", "REGISTRY"))
_MISSPELT: Final = 0.8
_ALIKE: Final = 0.6


def unknown(names: Iterable[str]) -> list[str]:
    """One sentence for each environment variable that looks like a setting and is none, with the nearest name."""
    known = [f"{_PREFIX}{name.upper()}" for name in Settings.model_fields]
    strange = (name for name in sorted(names) if name.startswith(_PREFIX) and name not in _OTHERS)
    return [_said(name, known) for name in strange if name not in known]


def _said(name: str, known: list[str]) -> str:
    # The prefix is common to all: without it, likeness is a likeness of words.
    ends = {one.removeprefix(_PREFIX): one for one in known}
    wrong = name.removeprefix(_PREFIX)
    near = get_close_matches(wrong, ends, n=1, cutoff=_MISSPELT)
    near += sorted((end for end in ends if wrong.startswith(f"{end}_")), key=len, reverse=True)
    near += get_close_matches(wrong, ends, n=1, cutoff=_ALIKE)
    advice = f"did you mean {ends[near[0]]}?" if near else "docs/settings.md lists them"
    return f"{name} is set, but there is no such setting; {advice}"
