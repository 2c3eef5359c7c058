"""`daogou train`, `evaluate` and `release` as a person calls them: what is said, and the status they end with."""

import asyncio
import getpass
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from infra.redis import connect
from infra.settings import Settings
from models.fusion import Weights
from models.release import artifacts, pointer
from models.shadow import FILE, shadowed
from streams.cli import main
from streams.shadow_counts import Counts, ShadowCounts
from tests.streams.trained import Shop, made_worse, stock

Daogou = Callable[..., "Told"]
BACKWARDS = Weights(-1, -1, -1, -1)


@dataclass(frozen=True)
class Told:
    """What a command said, and its status."""

    status: int
    out: str
    err: str


@pytest.fixture
def shop(trained_shop: Shop, tmp_path: Path) -> Settings:
    """The shop as the training left it, nothing released."""
    settings = trained_shop.copied(tmp_path / "data")
    (settings.models_dir / "live.json").unlink(missing_ok=True)
    asyncio.run(stock(trained_shop.url, full=True))
    return settings


@pytest.fixture
def version(trained_shop: Shop) -> str:
    return trained_shop.report.manifest.version


@pytest.fixture
def daogou(shop: Settings, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Daogou:
    """The command line in this process, with the shop in its environment."""
    given = {
        "KAFKA": "127.0.0.1:9",  # named, so that no embedded one is started; nothing here asks it
        "REDIS": shop.redis.get_secret_value(),
        "DATA_DIR": str(shop.data_dir),
        "PARTITIONS": str(shop.partitions),
        "TEXT_ENCODER": shop.text_encoder,
        "LOG_LEVEL": "WARNING",
    }
    for name, value in given.items():
        monkeypatch.setenv(f"DAOGOU_{name}", value)

    def call(*arguments: str) -> Told:
        monkeypatch.setattr(sys, "argv", ["daogou", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return Told(int(ended.value.code or 0), out, err)

    return call


def test_train_prints_the_table_and_releases_nothing_by_itself(daogou: Daogou, shop: Settings, tmp_path: Path) -> None:
    told = daogou("train", "--epochs", "0.05", "--no-features", "--json", str(tmp_path / "figures.json"))
    assert told.status == 0, told.err
    for heading in ("all purchases", "items new to the shopper", "decayed popularity", "fused", "fusion weights"):
        assert heading in told.out
    [made] = set(artifacts(shop.models_dir)) - {"20261101-123005", "20261102-123005"}
    assert f"artifact {made}: fitted before" in told.out
    assert "released" not in told.out
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["version"] == made
    assert pointer(shop.models_dir).live is None


def test_train_and_release_goes_through_the_gate(daogou: Daogou, shop: Settings, version: str) -> None:
    assert daogou("release", version).status == 0
    told = daogou("train", "--epochs", "0.05", "--features", "--release")
    live = pointer(shop.models_dir)
    assert version in told.out + told.err, "it is compared with, whether it is better or not"
    if told.status == 0:
        assert f"released {live.live}" in told.out
        assert live.live != version
    else:
        assert told.status == 1
        assert "[worse_than_in_service]" in told.err
        assert live.live == version


def test_what_training_needs_is_named(daogou: Daogou, shop: Settings, trained_shop: Shop, tmp_path: Path) -> None:
    told = daogou("train", "--no-features", "--json", str(tmp_path / "no" / "such.json"))
    assert (told.status, "there is no folder" in told.err) == (2, True)
    told = daogou("train", "--no-features", "--data-dir", str(tmp_path / "empty"))
    assert told.status == 2
    assert "load events first [no_events]" in told.err
    asyncio.run(stock(trained_shop.url, full=False))
    told = daogou("train", "--no-features")
    assert told.status == 2
    assert "daogou load --items FILE" in told.err
    assert "[no_catalogue]" in told.err


def test_evaluate_prints_the_released_one_again(daogou: Daogou, shop: Settings, version: str) -> None:
    told = daogou("evaluate")
    assert (told.status, "daogou train --release makes one [not_found]" in told.err) == (2, True)
    told = daogou("evaluate", "nothing")
    assert (told.status, "there is no artifact 'nothing'" in told.err) == (2, True)
    assert daogou("release", version).status == 0
    told = daogou("evaluate")
    assert told.status == 0, told.err
    assert f"artifact {version}: fitted before" in told.out
    (shop.models_dir / version / "vectors.npy").unlink()
    told = daogou("evaluate")
    assert (told.status, "vectors.npy is missing or altered" in told.err) == (1, True)


def test_evaluate_writes_a_page_and_all_figures(daogou: Daogou, version: str, tmp_path: Path) -> None:
    page, figures = tmp_path / "report.html", tmp_path / "figures.json"
    told = daogou("evaluate", version, "--split", "loo", "--seeds", "2", "--html", str(page), "--json", str(figures))
    assert told.status == 0, told.err
    assert "1 of 2 seeds of the model" in told.err
    assert "recency EASE" in told.out
    assert version in page.read_text()
    assert json.loads(figures.read_text())["comparison"]["k"] == 10
    for wrong, path in (("--html", tmp_path / "no" / "such.html"), ("--html", tmp_path), ("--json", tmp_path)):
        told = daogou("evaluate", version, wrong, str(path))
        assert (told.status, "folder" in told.err) == (2, True)
    told = daogou("evaluate", version, "--split", "random")
    assert (told.status, "[unknown_split]" in told.err) == (2, True)


def test_release_without_an_artifact_says_how_one_is_made(daogou: Daogou, tmp_path: Path) -> None:
    empty = ("--data-dir", str(tmp_path / "empty"))
    told = daogou("models", "list", *empty)
    assert (told.status, told.err) == (0, "")
    assert told.out == f"no model yet in {tmp_path / 'empty' / 'models' / 'default'}: daogou train makes one\n"
    told = daogou("release", *empty)
    assert (told.status, "daogou train makes one" in told.err) == (2, True)
    for arguments in (("release", "nothing"), ("release", "../elsewhere")):
        told = daogou(*arguments)
        assert (told.status, "[not_found]" in told.err) == (2, True)


def test_release_list_force_and_rollback(daogou: Daogou, shop: Settings, version: str) -> None:
    told = daogou("release", version)
    assert told.status == 0, told.err
    assert told.out.splitlines()[-1] == f"released {version}"
    assert "decayed popularity" in told.out
    assert "all/ndcg" in told.out
    told = daogou("rollback")
    assert (told.status, "no release before this one" in told.err) == (2, True)
    worse = made_worse(shop, version, "worse", BACKWARDS)
    told = daogou("release")
    assert (told.status, "not released. Give --force with a reason" in told.err) == (1, True)
    assert (told.out, pointer(shop.models_dir).live) == ("", version)
    told = daogou("release", worse, "--force", " ")
    assert (told.status, "--force needs a reason" in told.err) == (2, True)
    told = daogou("release", worse, "--force", "a trial")
    assert told.status == 0, told.err
    assert version in told.out
    told = daogou("models", "list")
    assert [line for line in told.out.splitlines() if "in service" in line] == [
        line for line in told.out.splitlines() if line.startswith(f"{worse}  all/ndcg")
    ]
    assert told.out.splitlines()[-1].endswith(f"{worse}  forced by {getpass.getuser()}: a trial")
    assert daogou("rollback").out == f"released {version} again\n"
    assert pointer(shop.models_dir).live == version
    told = daogou("models", "list")
    assert told.out.splitlines()[-1].endswith(f"{version}  rollback by {getpass.getuser()}")


def test_models_are_shown_and_compared(daogou: Daogou, shop: Settings, version: str) -> None:
    told = daogou("models", "show")
    assert (told.status, "no model is released" in told.err) == (2, True)
    told = daogou("models", "show", version)
    assert told.status == 0, told.err
    for text in (f"artifact {version}", "fitted on orders before", "all/ndcg", "weights, new"):
        assert text in told.out
    assert daogou("release", version).status == 0
    assert "released " in daogou("models", "show").out
    worse = made_worse(shop, version, "worse", BACKWARDS)
    told = daogou("models", "compare", worse)
    assert told.status == 0, told.err
    assert worse in told.out
    assert version in told.out
    assert pointer(shop.models_dir).live == version, "nothing is released by it"
    told = daogou("models", "compare", "nothing")
    assert (told.status, "[not_found]" in told.err) == (2, True)


def test_a_broken_pointer_is_one_sentence(daogou: Daogou, shop: Settings, version: str) -> None:
    (shop.models_dir / "live.json").write_text("{")
    for arguments in (("evaluate",), ("release", version), ("rollback",), ("models", "list")):
        told = daogou(*arguments)
        assert (told.status, "[pointer_broken]" in told.err) == (1, True), arguments


def test_the_list_names_a_broken_artifact_and_goes_on(daogou: Daogou, shop: Settings, version: str) -> None:
    made_worse(shop, version, "other", BACKWARDS)
    (shop.models_dir / version / "manifest.json").write_text("{")
    told = daogou("models", "list")
    assert told.status == 0
    assert f"{version}  " in told.out
    assert "cannot be read" in told.out
    assert "other  all/ndcg" in told.out


def test_a_candidate_is_tried_told_of_and_tried_no_more(daogou: Daogou, shop: Settings, version: str) -> None:
    worse = made_worse(shop, version, "20261102-123005", BACKWARDS)
    assert daogou("release", version, "--force", "the first").status == 0
    assert "no candidate is tried" in daogou("models", "shadow").out
    told = daogou("models", "shadow", worse, "--share", "0.25")
    assert told.status == 0, told.err
    assert f"{worse} is tried on 0.25 of the shoppers" in told.out
    order = shadowed(shop.models_dir)
    assert order is not None

    async def counted() -> None:
        client = await connect(shop.redis, 5000)
        counts = Counts(lists=10, shared=100, places=200, judged=8, both=2, shadow_alone=2, cpu_s=0.02)
        await ShadowCounts(client, "Redis").add(order.name, {version: counts})
        await client.aclose()

    asyncio.run(counted())
    told = daogou("models", "shadow")
    for word in (f"beside {version}", "10 made", "0.500", "0.5000, in service 0.2500", "2.00 ms, in service unknown"):
        assert word in told.out
    assert daogou("models", "shadow", "--off").status == 0
    assert shadowed(shop.models_dir) is None


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["20261101-123005"], "in_service"),
        (["20260101-000000"], "not_found"),
        (["20261101-123005", "--share", "1.5"], "share_range"),
        (["20261101-123005", "--share", "nan"], "share_range"),
        (["20261101-123005", "--off"], "not_both"),
    ],
)
def test_a_candidate_that_cannot_be_tried_is_refused(
    daogou: Daogou, shop: Settings, version: str, arguments: list[str], code: str
) -> None:
    assert version == "20261101-123005"
    assert daogou("release", version, "--force", "the first").status == 0
    told = daogou("models", "shadow", *arguments)
    assert told.status != 0
    assert f"[{code}]" in told.err
    assert shadowed(shop.models_dir) is None


def test_an_order_that_cannot_be_read_says_what_to_do(daogou: Daogou, shop: Settings) -> None:
    (shop.models_dir / FILE).write_text("{")
    assert "[shadow_broken]" in daogou("models", "shadow").err
    assert daogou("models", "shadow", "--off").status == 0
    assert daogou("models", "shadow").status == 0
