"""The same program with other features: a copy of the tree in which one is defined anew and one more is there."""

import shutil
from pathlib import Path
from typing import Final

import features

FOLDERS: Final = ("features", "infra", "models", "serving", "streams")
NEW: Final = "cart_lines"
CHANGED: Final = "views"

_EDITS: Final = (
    ('        "session_events": _one(Kind.Int64),\n', f'        "{NEW}": _one(Kind.Int64),\n'),
    (
        '        "session_events": state.session.events if state.session else 0,\n',
        f'        "{NEW}": len(state.cart),\n',
    ),
)
_ANEW: Final = ('        "views": state.views,\n', '        "views": 2 * state.views,\n')


def written(folder: Path) -> dict[str, str]:
    """Write the copy; the variables under which `python -m streams.cli` is that code.

    Raises:
        SystemExit: the features are written otherwise than this knows.
    """
    tree = Path(features.__file__).parents[1]
    for name in FOLDERS:
        shutil.copytree(tree / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    file = folder / "features" / "aggregates.py"
    text = file.read_text()
    for place, more in _EDITS:
        text = _replaced(text, place, place + more)
    file.write_text(_replaced(text, *_ANEW))
    return {"PYTHONPATH": str(folder), "PYTHONSAFEPATH": "1"}


def _replaced(text: str, place: str, by: str) -> str:
    if text.count(place) != 1:
        raise SystemExit(f"features/aggregates.py has no line of its own {place.strip()!r}: change tests/proofs too")
    return text.replace(place, by)
