"""The benchmark of models on data made here: what it reads, what it judges, what it goes on with."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from infra.errors import BadInput
from models.fusion import Weights
from models.scorer import Fitted
from models.sources import Choice
from tests.benchmarks import models, models_ablations, models_techniques
from tests.benchmarks.models_data import DataSet, mapped, sequences

ITEMS = 30


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shoppers who go through the items in rings of ten, from where they like."""
    rng = np.random.default_rng(1)
    lines = []
    for shopper in range(120):
        ring, start = 10 * int(rng.integers(3)), int(rng.integers(10))
        lines.append(" ".join(map(str, [shopper, *(ring + (start + step) % 10 for step in range(7))])))
    path = tmp_path_factory.mktemp("data") / "rings.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


def small(data: DataSet) -> DataSet:
    options = replace(data.options, width=16, batch=128, negatives=64, epochs=8.0, learning_rate=1e-2)
    return replace(data, options=options)


def test_sequences_hold_out_the_last_and_the_one_before(file: Path) -> None:
    data = sequences("rings", file, {}, {})
    for split, held in ((data.validation, 2), (data.test, 1)):
        assert len(split.before) == 120 * (7 - held)
        assert len(split.after) == 120
    assert data.test.k == 10


def test_a_line_without_items_and_an_empty_file_are_named(tmp_path: Path) -> None:
    bad = tmp_path / "bad.txt"
    for text, code in (("1 2 3\n7\n", "cut"), ("", "no_events")):
        bad.write_text(text)
        with pytest.raises(BadInput) as caught:
            sequences("bad", bad, {}, {})
        assert caught.value.reason == code


def test_a_run_keeps_its_figures_and_says_what_is_missed(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = models.arguments(["--file", str(file), "--beside", "moment", "--out", str(tmp_path)])
    data = small(replace(models.data_of(asked), bars={"new": 1.01}))
    (missed,) = models.run(data, asked, Console(quiet=True))
    assert missed.endswith("1.0100 is due")
    (kept,) = tmp_path.iterdir()
    figures = json.loads(kept.read_text())
    rows = {row["model"]: row for row in figures["rows"]}
    assert {"popularity", "recency item-kNN", "tower alone", "fused"} <= rows.keys()
    assert rows["fused"]["ndcg"] > 0.9, "what follows in the ring"
    assert rows["fused"]["low"] <= rows["fused"]["ndcg"] <= rows["fused"]["high"]
    assert figures["choice"]["recency"] < 1
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert "rings, seed 1" in last
    assert "1.0100 is due" in last


def test_another_file_is_read_by_a_mapping_of_the_loader(tmp_path: Path) -> None:
    lines = [
        f"{user},{100 + (user + day) % 9},{day % 3},{'buy' if day % 2 else 'pv'},{1511544070 + day * 80_000}"
        for user in range(1, 30)
        for day in range(8)
    ]
    path = tmp_path / "some.csv"
    path.write_text("\n".join(lines) + "\n")
    data = mapped("some", path, "taobao", [], ("purchase",))
    assert len(data.happened) == len(lines)
    assert len(data.test.after)
    assert int(data.test.before.at.max()) < data.test.at_ms <= int(data.test.after.at.min())
    assert set(data.test.before.kinds.tolist()) == {0}
    assert len(data.known_before(data.test)) > len(data.test.before)
    with pytest.raises(BadInput, match="mapping"):
        mapped("some", path, "nonsense", [], ())


def test_ablations_go_on_behind_a_line_that_was_cut_short(file: Path, tmp_path: Path) -> None:
    some = {name: models_techniques.TECHNIQUES[name] for name in ("the towers", "dropout")}
    data, lines = small(sequences("rings", file, {}, {})), tmp_path / "rows.jsonl"
    models_ablations.run(data, tmp_path, lines, models.Said(), some)
    whole = lines.read_bytes()
    assert [json.loads(line)["without"] for line in whole.splitlines()] == ["the whole model", *some]
    assert json.loads(whole.splitlines()[0])["difference"] == 0
    lines.write_bytes(whole[:-20])
    models_ablations.run(data, tmp_path, lines, models.Said(), some)
    assert lines.read_bytes() == whole


def test_what_is_taken_out_of_the_towers_stays_out_of_them(file: Path) -> None:
    data = small(sequences("rings", file, {}, {}))
    data = replace(data, options=replace(data.options, epochs=1.0))
    made = models_techniques.Made(None, Choice(), {"new": Weights(), "all": Weights()})

    def fitted(name: str) -> Fitted:
        return models_techniques.TECHNIQUES[name](data, made, models.Said())

    usual = models_techniques.refitted(lambda same: same)(data, made, models.Said())
    out = {
        "the copy head": {"copy_gate.weight": 0, "copy_gate.bias": -100},
        "how far back a step is (biases)": {"copy_far": 0, "blocks.0.far": 0, "blocks.1.far": 0},
        "how long ago a step is (log time gaps)": {"gap.weight": 0, "ago": 0, "copy_ago": 0},
    }
    for name, values in out.items():
        tower = fitted(name).tower
        for part, value in values.items():
            assert (tower[part] == value).all()
            assert (usual.tower[part] != value).any()
    uncorrected = fitted("logQ, the correction of negatives that are drawn often")
    assert (uncorrected.vectors != usual.vectors).any()
    again = models_techniques.refitted(lambda same: same)(data, made, models.Said())
    assert (again.vectors == usual.vectors).all(), "afterwards all is as before"
