"""`daogou similar` and `daogou text` as a person calls them, on the made-up shop."""

import json
from pathlib import Path

import numpy as np
import pytest

from infra.errors import BadInput, NotFound
from infra.settings import Settings
from models.text_lexical import LexicalEncoder
from streams.similarity import encoder_for, similarity, texts_given, told
from tests.models.made_shop import catalogue
from tests.models.tiny_text import bert, llama
from tests.streams.test_model_commands import Daogou, daogou, shop

__all__ = ["daogou", "shop"]
CATALOGUE = ("黑色连衣裙 夏季", "黑色连衣裙 长款", "白色衬衫 男", "白色衬衫 女", "保温杯 500ml", "")


def test_two_texts_and_where_their_cosine_stands_among_the_catalogues() -> None:
    encoder = LexicalEncoder.fit(CATALOGUE)
    near = similarity(encoder, "黑色连衣裙", "连衣裙 夏季", CATALOGUE)
    far = similarity(encoder, "黑色连衣裙", "白色衬衫", CATALOGUE)
    assert near.cosine > far.cosine
    assert near.scale is not None
    assert near.scale.items == 5, "an item without a text is no neighbour"
    assert near.scale.half <= near.scale.nine_in_ten <= near.scale.most <= 1
    assert near.above is not None
    assert far.above is not None
    assert near.above >= far.above
    assert similarity(encoder, "杯", "杯", CATALOGUE).cosine == pytest.approx(1)
    assert any("nearer than" in line for line in told(near))


def test_a_text_of_which_nothing_is_known_is_said() -> None:
    found = similarity(LexicalEncoder.fit(CATALOGUE), "👗", "连衣裙", ())
    assert found.cosine == 0
    lines = told(found)
    assert "lexical knows no word of '👗'" in lines
    assert "there is no catalogue" in lines[-1]


def test_texts_that_are_none() -> None:
    assert texts_given("a", "b", None) == ("a", "b")
    assert texts_given("1", "2", {"1": "tea", "2": "pot"}) == ("tea", "pot")
    with pytest.raises(NotFound, match="no item '3'"):
        texts_given("1", "3", {"1": "tea"})
    for one, of in ((" ", None), ("1", {"1": ""})):
        with pytest.raises(BadInput) as refused:
            texts_given(one, one, of)
        assert refused.value.reason == "no_text"


def test_without_a_catalogue_nothing_is_chosen_or_fitted(tmp_path: Path) -> None:
    for setting in ("", "lexical"):
        with pytest.raises(BadInput) as refused:
            encoder_for(setting, None, (), tmp_path, lambda _: None)
        assert refused.value.reason == "no_catalogue"
    with pytest.raises(NotFound, match="no exported encoder"):
        encoder_for("", tmp_path, (), tmp_path, lambda _: None)


def test_similar_by_texts_by_items_and_by_the_exported_encoder(
    daogou: Daogou, shop: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAOGOU_TEXT_ENCODER", "lexical")
    one = daogou("similar", "tea 3", "tea 4")
    assert (one.status, one.out.splitlines()[0].partition("by ")[2]) == (0, "lexical"), one.err
    by_id = daogou("similar", "i00", "i01", "--items")
    assert by_id.status == 0
    assert "of the pairs of 40 items of this catalogue" in by_id.out
    wrong = daogou("similar", "i00", "i99", "--items")
    assert (wrong.status, "no item 'i99'" in wrong.err) == (2, True)
    refused = daogou("text", "export", "--out", str(tmp_path / "small"))
    assert (refused.status, "needs no export" in refused.err) == (2, True)
    monkeypatch.setenv("DAOGOU_TEXT_ENCODER", bert(tmp_path / "bert", ["tea", "pots"], width=16))
    out = str(tmp_path / "small")
    exported = daogou("text", "export", "--out", out, "--int8")
    assert exported.status == 0, exported.err
    assert "texts per CPU second" in exported.out
    again = daogou("text", "export", "--out", out)
    assert (again.status, "is there already" in again.err) == (2, True)
    read = daogou("similar", "tea", "pots", "--onnx", out)
    assert (read.status, "by bert (int8)" in read.out) == (0, True)


def test_an_encoder_is_tuned_on_co_purchases_and_on_a_file(
    daogou: Daogou, shop: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAOGOU_TEXT_ENCODER", "lexical")
    out = tmp_path / "tuned"
    tuned = daogou("text", "tune", "--pairs", "co-purchase", "--out", str(out), "--epochs", "2", "--anyway")
    assert tuned.status == 0, tuned.err
    assert [line.split()[0] for line in tuned.out.splitlines()[1:3]] == ["before", "after"]
    monkeypatch.setenv("DAOGOU_TEXT_ENCODER", str(out))
    assert daogou("similar", "tea 3", "pots 4").status == 0
    names = [item.content.name for item in catalogue() if item.content is not None]
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps({"query": name[::-1], "text": name}) + "\n" for name in names))
    by_file = daogou("text", "tune", "--pairs", str(file), "--out", str(tmp_path / "two"), "--anyway")
    assert by_file.status == 0, by_file.err
    assert np.isfinite(LexicalEncoder.open(tmp_path / "two" / "lexical.npz").axes).all()
    none = daogou("text", "tune", "--pairs", "queries", "--out", str(tmp_path / "three"))
    assert (none.status, "too_few_pairs" in none.err) == (2, True)


def test_a_model_for_copy_is_tuned_on_a_file(daogou: Daogou, tmp_path: Path) -> None:
    model = llama(tmp_path / "tiny", ["tea 0123456789\nnow for"], steps=1)
    file = tmp_path / "copy.jsonl"
    file.write_text("".join(f'{{"prompt": "tea {n}", "text": "now for {n}"}}\n' for n in range(12)))
    out = tmp_path / "tuned"
    told = daogou("text", "tune-copy", "--data", str(file), "--model", model, "--out", str(out), "--rate", "0.01")
    assert told.status == 0, told.err
    assert "perplexity" in told.out
    assert (out / "model.safetensors").exists()
    missing = daogou("text", "tune-copy", "--data", "none.jsonl", "--model", model, "--out", str(tmp_path / "x"))
    assert (missing.status, "there is no file none.jsonl" in missing.err) == (2, True)
