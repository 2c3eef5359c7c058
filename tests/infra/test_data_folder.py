"""The data folder is made and written to before anything relies on it, and misspelt settings are named."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.data_folder import make_usable, try_out
from infra.errors import SettingWrong
from infra.setting_names import unknown
from infra.settings import Settings


def test_it_is_made_and_nothing_is_left_in_it(tmp_path: Path) -> None:
    make_usable(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_trying_leaves_no_trace(tmp_path: Path) -> None:
    try_out(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a").mkdir()
    try_out(tmp_path / "a" / "b")
    assert [one.name for one in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("use", [make_usable, try_out])
def test_one_that_cannot_be_used_is_named(tmp_path: Path, use: object) -> None:
    assert callable(use)
    (tmp_path / "file").write_text("")
    for folder in (Path("/proc/x"), tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(SettingWrong, match=f"DAOGOU_DATA_DIR = '{folder}'"):
            use(folder)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("DAOGOU_REDIS_URL", "DAOGOU_REDIS"),
        ("DAOGOU_REDIS_TIMEOUT", "DAOGOU_REDIS_TIMEOUT_MS"),
        ("DAOGOU_DATADIR", "DAOGOU_DATA_DIR"),
        ("DAOGOU_PRT", "DAOGOU_PORT"),
        ("DAOGOU_KAFKA_BROKERS", "DAOGOU_KAFKA"),
    ],
)
def test_the_nearest_right_name(name: str, nearest: str) -> None:
    assert unknown([name]) == [f"{name} is set, but there is no such setting; did you mean {nearest}?"]


def test_a_name_that_is_like_none() -> None:
    assert unknown(["DAOGOU_NOSUCH"]) == [
        "DAOGOU_NOSUCH is set, but there is no such setting; docs/settings.md lists them"
    ]


@given(st.sampled_from([f"DAOGOU_{name.upper()}" for name in Settings.model_fields]), st.text())
def test_right_names_and_those_of_others_are_silent(right: str, other: str) -> None:
    assert unknown([right, f"X{other}", "DAOGOU_FEAST_REGISTRY"]) == []
