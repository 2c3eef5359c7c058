"""The gate of the schemas: what is committed is what the code makes, and only ever grows within a version."""

import json
import subprocess
from pathlib import Path
from typing import Any

from features.event_versions import VERSIONS, Versions
from tests.docs.schemas import FOLDER, ROOT, broken, committed_before, files, stale, unread

ENVELOPE = FOLDER / "v1" / "event.json"


def nothing_before(path: Path, now: str) -> str | None:
    return None


def written(root: Path) -> dict[Path, str]:
    made = files(1)
    for path, text in made.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return made


def test_what_is_kept_is_what_the_code_makes() -> None:
    assert list(stale(files(VERSIONS.present), ROOT)) == []


def test_a_stale_a_missing_and_an_unknown_file_are_named(tmp_path: Path) -> None:
    made = written(tmp_path)
    (tmp_path / ENVELOPE).write_text("{}")
    (tmp_path / FOLDER / "v1" / "search.json").unlink()
    (tmp_path / FOLDER / "v1" / "dance.json").write_text("{}")
    named = [fault.partition(":")[0] for fault in stale(made, tmp_path)]
    assert named == [str(FOLDER / "v1" / f"{name}.json") for name in ("event", "search", "dance")]


def test_a_change_that_breaks_is_refused_with_the_way_out() -> None:
    made = files(1)

    def before(path: Path, now: str) -> str | None:
        was: dict[str, Any] = json.loads(now)
        if path != ENVELOPE:
            return None
        was["properties"]["colour"] = {"type": "string"}
        return json.dumps(was)

    [fault] = broken(made, before)
    assert fault.startswith(f"{ENVELOPE}: colour: the field is gone; raise SCHEMA_VERSION")
    assert list(broken(made, nothing_before)) == []


def test_a_raised_version_needs_the_step_and_the_old_schemas(tmp_path: Path) -> None:
    assert [fault.partition(":")[0] for fault in unread(Versions(2), tmp_path, nothing_before)] == [
        "version 1",
        f"{FOLDER}/v1",
    ]
    written(tmp_path)
    assert list(unread(Versions(2, {1: dict}), tmp_path, nothing_before)) == []


def test_an_older_version_does_not_change(tmp_path: Path) -> None:
    written(tmp_path)
    [first, *_] = unread(Versions(2, {1: dict}), tmp_path, lambda path, now: "{}")
    assert first.endswith("an older version does not change any more")


def test_what_was_committed_before_is_the_last_text_that_differs(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        who = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True)

    git("init", "-q")
    path = Path("event.json")
    assert committed_before(path, "first", tmp_path) is None
    for text in ("first", "second"):
        (tmp_path / path).write_text(text)
        git("add", "event.json")
        git("commit", "-q", "-m", text)
    assert committed_before(path, "third", tmp_path) == "second"  # changed, not committed yet
    assert committed_before(path, "second", tmp_path) == "first"  # committed: what the commit changed
    git("commit", "-q", "--allow-empty", "-m", "something else")
    assert committed_before(path, "second", tmp_path) == "first"
