"""A causal model learns the shop's copy; what it writes is held against what a person wrote and against the facts."""

import json
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.errors import ArtifactBroken, BadInput, Conflict, NotFound, Refused, Undecodable
from models.copy_metrics import bleu, grounded, grounded_share, numbers_of
from models.copy_tuning import Example, Options, examples_of, tune_copy
from models.text_transformer import opened
from tests.models.tiny_text import llama

PRICES = range(10, 60)
EXAMPLES = [Example(f"tea {price}", f"now for {price} in our shop") for price in PRICES]
READ = [f"tea {price}\nin our shop {price} for now" for price in PRICES]
FAST = Options(epochs=6, batch=8, rate=2e-2, rank=8, tokens=48, answer=24, held=0.1)


def quiet(_: int) -> None:
    return None


def test_numbers_by_their_value() -> None:
    assert numbers_of("€1,299.00, ５ cm, 12.50") == {Decimal(1299), Decimal(5), Decimal("12.5")}
    assert numbers_of("none") == set()


def test_an_output_is_grounded_if_each_of_its_numbers_is_a_fact() -> None:
    assert grounded("now 12.5", "price: 12.50, 500 ml")
    assert grounded("lovely", "price: 12.50")
    assert not grounded("now 9.99, was 12.50", "price: 12.50")
    assert grounded_share(["a 1", "b 2"], ["1", "1"]) == 0.5
    assert grounded_share([], []) == 0.0


@given(st.decimals(min_value=0, max_value=10**6, places=2))
def test_a_price_is_the_same_however_it_is_written(price: Decimal) -> None:
    assert numbers_of(f"{price:,.2f}") == numbers_of(f"{price:f}") == {price.normalize()}


def test_bleu_by_known_answers() -> None:
    said = "the quick brown fox jumps over it"
    assert bleu([said], [said]) == pytest.approx(100)
    assert bleu(["nothing alike here at all"], [said]) < 5
    assert bleu(["这件黑色连衣裙适合夏天"], ["这件黑色连衣裙适合夏天"]) == pytest.approx(100)
    assert 20 < bleu(["这件黑色连衣裙适合冬天"], ["这件黑色连衣裙适合夏天"]) < 100, "Chinese is cut into characters"


@pytest.fixture(scope="module")
def readied(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model that knows the words, and not the shop's way to put them."""
    return llama(tmp_path_factory.mktemp("llama") / "tiny", READ, steps=60)


def test_a_tuned_model_writes_held_out_copy_better(readied: str, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    learned: list[int] = []
    report = tune_copy(readied, EXAMPLES, FAST, tmp_path / "tuned", learned.append)
    assert (report.model, report.learned, report.judged) == ("tiny", 45, 5)
    assert sum(learned) == 45 * FAST.epochs
    assert report.after.perplexity < report.before.perplexity / 3
    assert report.after.bleu > 10
    assert report.before.grounded <= report.after.grounded <= 1
    assert json.loads((tmp_path / "tuned" / "tuning.json").read_bytes())["after"]["bleu"] == report.after.bleu
    model, _ = opened(AutoModelForCausalLM, str(tmp_path / "tuned"))
    whole = sum(one.numel() for one in model.parameters())
    assert 0 < report.trained_weights < whole
    assert not any("lora" in name for name, _ in model.named_parameters()), "merged: an ordinary model"


def test_no_better_is_refused_and_leaves_nothing(readied: str, tmp_path: Path) -> None:
    options = Options(epochs=1, batch=64, rate=0.0, tokens=32, answer=4, held=0.05)
    with pytest.raises(Refused, match="no better") as refused:
        tune_copy(readied, EXAMPLES[:20], options, tmp_path / "tuned", quiet)
    assert refused.value.reason == "not_better"
    assert list(tmp_path.iterdir()) == []


def test_bad_input_is_named(readied: str, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(Conflict):
        tune_copy(readied, EXAMPLES, FAST, tmp_path / "there", quiet)
    with pytest.raises(NotFound, match="no transformers model"):
        tune_copy(str(tmp_path / "there"), EXAMPLES, FAST, tmp_path / "new", quiet)
    half = tmp_path / "half"
    half.mkdir()
    for file in Path(readied).iterdir():
        whole = file.read_bytes()
        (half / file.name).write_bytes(whole[: len(whole) // 2] if file.suffix == ".safetensors" else whole)
    with pytest.raises(ArtifactBroken, match="half is incomplete"):
        tune_copy(str(half), EXAMPLES, FAST, tmp_path / "new", quiet)


def test_examples_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "copy.jsonl"
    line = '{"prompt": "红茶 39.90", "text": "好茶", "facts": "39.90"}\n'
    file.write_text(line * 10, encoding="utf-8")
    assert examples_of(file) == [Example("红茶 39.90", "好茶", "39.90")] * 10
    file.write_text(line * 9, encoding="utf-8")
    with pytest.raises(BadInput) as few:
        examples_of(file)
    assert few.value.reason == "too_few_examples"
    file.write_text(line * 10 + '{"prompt": " ", "text": "x"}', encoding="utf-8")
    with pytest.raises(BadInput, match="example 11") as empty:
        examples_of(file)
    assert empty.value.reason == "no_text"
    file.write_text(line + '{"prompt": 1}', encoding="utf-8")
    with pytest.raises(Undecodable, match=r'line 2: .*"prompt" and "text"'):
        examples_of(file)
