"""The JSON Schemas of the events below docs/schemas: `make schemas` writes them, `make check` compares them.

Within a version a schema may only grow: it is compared with the last committed one that differs from it. Any
other change is a new version: a new folder, and in `features.event_versions` the step that leads up to it.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from features.event_schemas import schemas, text
from features.event_versions import UNNAMED_VERSION, VERSIONS, Versions
from features.schema_changes import breaks

ROOT = Path(__file__).parents[2]
FOLDER: Final = Path("docs/schemas/events")
_WAY_OUT: Final = "raise SCHEMA_VERSION in features/event_versions.py and add the step that reads the old one"

# The last committed text of a file that differs from the one given; None: there is none.
Before = Callable[[Path, str], str | None]


def files(version: int) -> dict[Path, str]:
    """What the code makes, by path below the repository."""
    return {FOLDER / f"v{version}" / f"{name}.json": text(schema) for name, schema in schemas().items()}


def committed_before(path: Path, now: str, root: Path = ROOT) -> str | None:
    """From git, whose history may be cut short."""
    commits = _git(root, "log", "-n", "2", "--format=%H", "--", str(path)).split()
    return next((was for commit in commits if (was := _git(root, "show", f"{commit}:{path}")) not in ("", now)), None)


def stale(made: dict[Path, str], root: Path) -> Iterator[str]:
    """Files that are not what the code makes."""
    for path, now in made.items():
        if not (root / path).exists() or (root / path).read_text() != now:
            yield f"{path}: not what the code says now; run: make schemas"
    for path in sorted((root / next(iter(made)).parent).glob("*.json")):
        if path.relative_to(root) not in made:
            yield f"{path.relative_to(root)}: the code knows no such event"


def broken(made: dict[Path, str], before: Before) -> Iterator[str]:
    """Changes that what is on the log, or a producer out there, would not survive."""
    for path, now in made.items():
        was = before(path, now)
        if was is not None:
            for reason in breaks(json.loads(was), json.loads(now)):
                yield f"{path}: {reason}; {_WAY_OUT}"


def unread(versions: Versions, root: Path, before: Before) -> Iterator[str]:
    """Older versions that have no way up, or whose schemas were touched."""
    for version in range(UNNAMED_VERSION, versions.present):
        if not versions.knows(version):
            yield f"version {version}: no step in features/event_versions.py leads up from it"
        folder = root / FOLDER / f"v{version}"
        if not folder.exists():
            yield f"{FOLDER}/v{version}: gone; events of it are on the log"
        for path in sorted(folder.glob("*.json")):
            if before(path.relative_to(root), path.read_text()) is not None:
                yield f"{path.relative_to(root)}: an older version does not change any more"


def main(arguments: list[str] | None = None) -> int:
    """Writes the files, or with `--check` compares them; 1 when something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args(arguments).check
    made = files(VERSIONS.present)
    faults = [*broken(made, committed_before), *unread(VERSIONS, ROOT, committed_before)]
    if check:
        faults += stale(made, ROOT)
    elif not faults:
        for path, now in made.items():
            (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
            (ROOT / path).write_text(now)
        print(f"wrote {len(made)} schemas below {FOLDER}/v{VERSIONS.present}")
    print("\n".join(faults), end="\n" if faults else "", file=sys.stderr)
    return 1 if faults else 0


def _git(root: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False).stdout


if __name__ == "__main__":
    sys.exit(main())
