"""The gate in normal use: a retrain with other weeks is compared with the model in service, on its own weeks."""

from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from features.archive import EventArchive
from infra.errors import NotFound, Refused
from infra.settings import Settings
from models.artifact import MANIFEST, Artifact, Manifest, write
from models.fusion import Weights
from models.gate import METRIC
from models.release import pointer
from streams.offline_features import build_features
from streams.releasing import compare, release
from tests.features.past import archived
from tests.models.made_shop import visits
from tests.streams.trained import MADE_AT, Shop, made_worse, quiet

ITEM_TO_ITEM = Weights(0, 1, 0, 0)
BACKWARDS = Weights(-1, -1, -1, -1)


@pytest.fixture
def shop(trained_shop: Shop, tmp_path: Path) -> Settings:
    """With the trained model in service."""
    settings = trained_shop.copied(tmp_path / "data")
    (settings.models_dir / "live.json").unlink(missing_ok=True)
    with quiet() as phases:
        release(settings, trained_shop.report.manifest.version, phases, MADE_AT)
    return settings


@pytest.fixture
def version(trained_shop: Shop) -> str:
    return trained_shop.report.manifest.version


def one_more_purchase(settings: Settings) -> None:
    """A day after all others: the weeks of a next training are other ones."""
    last = [event for event in visits() if event.event_name == "purchase"][-1]
    next_day = [at + timedelta(days=1) for at in (last.occurred_at, last.received_at) if at is not None]
    event = msgspec.structs.replace(last, event_id="one-more", occurred_at=next_day[0], received_at=next_day[1])
    archived(settings.archive_dir, [event], log="later")
    assert len(list(EventArchive(settings.archive_dir).events())) == len(visits()) + 1
    with quiet() as phases:
        build_features(settings, phases)


def moved_on(settings: Settings, version: str) -> None:
    """The artifact as a training of the day after would have left it."""
    file = settings.models_dir / version / MANIFEST
    manifest = msgspec.json.decode(file.read_bytes(), type=Manifest)
    day = timedelta(days=1)
    manifest = msgspec.structs.replace(
        manifest, fitted_before=manifest.fitted_before + day, tested_until=manifest.tested_until + day
    )
    file.write_bytes(msgspec.json.encode(manifest))


def test_after_one_more_purchase_a_worse_model_is_still_refused(shop: Settings, version: str) -> None:
    one_more_purchase(shop)
    worse = made_worse(shop, version, "worse", BACKWARDS)
    moved_on(shop, worse)
    with quiet() as phases, pytest.raises(Refused) as caught:
        release(shop, worse, phases, MADE_AT)
    assert caught.value.reason in ("below_floor", "worse_than_in_service")
    assert pointer(shop.models_dir).live == version


def test_both_are_tested_on_the_candidates_weeks(shop: Settings, version: str) -> None:
    one_more_purchase(shop)
    worse = made_worse(shop, version, "worse", ITEM_TO_ITEM)
    moved_on(shop, worse)
    with quiet() as phases:
        one = compare(shop, worse, phases)
    live = Artifact.open(shop.models_dir / version).manifest
    assert (one.begin, one.end) == (live.fitted_before + timedelta(days=1), live.tested_until + timedelta(days=1))
    assert one.in_service == version
    found = one.figures[METRIC]
    assert found.in_service is not None
    assert found.in_service > found.candidate
    assert not one.in_service_saw


def test_a_model_in_service_that_saw_the_weeks_is_named_so(shop: Settings, version: str) -> None:
    other = made_worse(shop, version, "other", ITEM_TO_ITEM)
    moved_on(shop, version)
    with quiet() as phases:
        assert compare(shop, other, phases).in_service_saw


def test_the_same_weeks_give_the_manifests_figures(shop: Settings, version: str, trained_shop: Shop) -> None:
    other = made_worse(shop, version, "other", ITEM_TO_ITEM)
    with quiet() as phases:
        one = compare(shop, other, phases)
    metrics = trained_shop.report.manifest.metrics
    assert one.figures[METRIC].in_service == pytest.approx(metrics["fused"]["all/ndcg"], abs=1e-4)
    assert one.figures[METRIC].floor == pytest.approx(metrics["decayed popularity"]["all/ndcg"], abs=1e-4)


def test_the_one_in_service_is_released_again_without_being_tested_beside_itself(shop: Settings, version: str) -> None:
    with quiet() as phases:
        done = release(shop, version, phases, MADE_AT)
    assert done.compared is not None
    assert done.compared.figures[METRIC].in_service == done.compared.figures[METRIC].candidate


@pytest.mark.parametrize("lost", ["manifest.json", "vectors.npy"])
def test_one_in_service_that_is_not_whole_needs_force(shop: Settings, version: str, lost: str) -> None:
    other = made_worse(shop, version, "other", Artifact.open(shop.models_dir / version).manifest.weights["all"])
    (shop.models_dir / version / lost).unlink()
    with quiet() as phases, pytest.raises(Refused, match=rf"{version} in service cannot be tested .*{lost}") as caught:
        release(shop, other, phases, MADE_AT)
    assert caught.value.reason == "in_service_untested"
    with quiet() as phases:
        done = release(shop, other, phases, MADE_AT, force="the disk was full")
    assert (done.forced, pointer(shop.models_dir).live) == ("the disk was full", other)
    assert done.compared is not None
    assert lost in str(done.compared.untested)


def test_a_tower_of_another_kind_cannot_be_compared_with(shop: Settings, version: str) -> None:
    live = Artifact.open(shop.models_dir / version)
    arrays = {file.stem: getattr(live, file.stem) for file in live.path.glob("*.npy")}
    write(shop.models_dir, live.manifest, arrays, {"other": arrays["popularity"]}, live.item_ids)
    with quiet() as phases:
        release(shop, f"{version}-2", phases, MADE_AT, force="a trial")
        with pytest.raises(Refused, match="cannot be scored with by this version") as caught:
            release(shop, version, phases, MADE_AT)
    assert caught.value.reason == "in_service_untested"


def test_without_the_archive_force_alone_releases(shop: Settings, version: str) -> None:
    other = made_worse(shop, version, "other", ITEM_TO_ITEM)
    gone = shop.model_copy(update={"data_dir": shop.data_dir / "elsewhere"})
    gone.models_dir.parent.mkdir(parents=True)
    shop.models_dir.rename(gone.models_dir)
    with quiet() as phases:
        done = release(gone, other, phases, MADE_AT, force="the archive is elsewhere")
    assert done.compared is None


def test_what_is_not_there_is_never_released(shop: Settings) -> None:
    with quiet() as phases, pytest.raises(NotFound, match="no artifact 'other'"):
        release(shop, "other", phases, MADE_AT, force="I want it")
