"""What tells one code of the rows from another."""

from pathlib import Path

import pytest

from infra.errors import Refused
from streams.replay.code import code_of_rows, differs, refuse_other


def written(folder: Path, **files: str) -> str:
    for name, text in files.items():
        file = folder / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return code_of_rows(folder)


def test_another_source_is_other_code(tmp_path: Path) -> None:
    first = written(tmp_path, shoppers="a", aggregates="b")
    assert first == code_of_rows(tmp_path)
    assert written(tmp_path, **{"repo/definitions": "x"}) == first, "what Feast's command line reads decides no row"
    assert written(tmp_path, aggregates="c") != first
    assert written(tmp_path, aggregates="b") == first
    assert written(tmp_path, another="") != first


def test_what_nobody_knows_is_not_other_code(tmp_path: Path) -> None:
    assert code_of_rows(tmp_path) == ""
    assert code_of_rows() != ""
    assert not differs("", "a")
    refuse_other("name", "a", "a")
    with pytest.raises(Refused) as error:
        refuse_other("name", "a", "b")
    assert error.value.reason == "other_code"
