"""Pairs of the shop, how well they are found, and encoders tuned on them."""

import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from features.events import Event, EventItem
from infra.errors import BadInput, Conflict, NotFound, Refused, Undecodable
from models.interactions import Floats, Interactions
from models.text import open_encoder
from models.text_encoder import Encoder, Progress
from models.text_lexical import LexicalEncoder
from models.text_matching import matching
from models.text_pairs import Pairs, asked_and_chosen, bought_together, pairs_of
from models.text_transformer import TransformerEncoder
from models.text_tuning import Options, loss, tune
from tests.models.tiny_text import bert

AT = datetime(2026, 11, 1, tzinfo=UTC)
TEXTS = {"i1": "green tea", "i2": "black tea", "i3": "tea pot"}
COLOURS = ("red", "blue", "green", "white", "black", "grey", "pink", "gold")
KINDS = {"dress": "gown", "shirt": "blouse", "shoes": "sneakers", "bag": "tote", "hat": "cap"}


def made_pairs() -> Pairs:
    """Forty queries, each with a title that shares no word with it: what belongs together must be learned."""
    both = [(f"{colour} {kind}", f"{colour}ish {KINDS[kind]}") for colour in COLOURS for kind in KINDS]
    return Pairs(tuple(query for query, _ in both), tuple(title for _, title in both))


def quiet(_: int) -> None:
    return None


class Given:
    """An encoder of vectors that are given."""

    name, width = "given", 2

    def __init__(self, vectors: dict[str, tuple[float, float]]) -> None:
        self._vectors = vectors

    def encode(self, texts: Sequence[str], progress: Progress) -> Floats:
        return np.array([self._vectors[text] for text in texts], np.float32)


def test_the_encoder_double_is_one() -> None:
    one: Encoder = Given({})
    assert one.width == 2


def test_items_of_one_order_are_pairs_the_most_frequent_first() -> None:
    order = np.array([7, 3, 3, 7, 7, 9])
    item = np.array([2, 0, 2, 0, 1, 1])
    none = np.zeros(6, np.int64)
    bought = Interactions(("s",), ("a", "b", "c"), none, item, none, order)
    pairs = bought_together(bought, ["tea", "milk", "pot"])
    assert list(zip(pairs.left, pairs.right, strict=True)) == [("tea", "pot"), ("tea", "milk"), ("milk", "pot")]
    assert pairs.alike
    assert len(bought_together(bought, ["tea", "tea", ""])) == 0, "the same text, or none, tells nothing"


def _event(name: str, minutes: int, *items: str, term: str | None = None, who: str = "s") -> Event:
    return Event(
        event_name=name,
        event_id=f"{name}{minutes}{who}",
        user_id=who,
        tenant="default",
        source="test",
        occurred_at=AT + timedelta(minutes=minutes),
        received_at=AT + timedelta(minutes=minutes),
        items=tuple(EventItem(item_id=item, index=0) for item in items),
        search_term=term,
    )


def test_a_choice_belongs_to_the_same_shoppers_last_search_within_half_an_hour() -> None:
    events = [
        _event("select_item", 0, "i1"),
        _event("search", 1, term="tea"),
        _event("select_item", 2, "i2", who="t"),
        _event("select_item", 2, "i1"),
        _event("select_item", 3, "i1"),
        _event("select_item", 4, "gone"),
        _event("search", 5, term=" pot "),
        _event("select_item", 35, "i3"),
        _event("select_item", 36, "i2"),
    ]
    pairs = asked_and_chosen(events, TEXTS)
    assert list(zip(pairs.left, pairs.right, strict=True)) == [("tea", "green tea"), ("pot", "tea pot")]


def test_a_file_of_pairs(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_text('{"query": "红茶", "text": "正山小种"}\n\n{"query": "", "text": "x"}\n', encoding="utf-8")
    assert pairs_of(file) == Pairs(("红茶",), ("正山小种",))
    with pytest.raises(NotFound):
        pairs_of(tmp_path / "none")


@pytest.mark.parametrize(
    "line", ["no json", '{"query": "a"}', '{"query": 1, "text": "b"}', "[]", '{"query": "\ud800"}']
)
def test_a_bad_line_is_named_by_its_number(tmp_path: Path, line: str) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_bytes(b'{"query": "a", "text": "b"}\n' + line.encode(errors="surrogatepass") + b"\n")
    with pytest.raises(Undecodable, match=r'line 2: .*"query" and "text"'):
        pairs_of(file)


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("uvwxyz"))), st.booleans(), st.integers(0, 9))
def test_what_is_held_out_is_not_learned(both: list[tuple[str, str]], alike: bool, seed: int) -> None:
    pairs = Pairs(tuple(one for one, _ in both), tuple(other for _, other in both), alike)
    learned, held = pairs.held_out(0.5, seed)
    assert len(learned) + len(held) == len(pairs)
    if alike:
        assert not set(zip(learned.left, learned.right, strict=True)) & set(zip(held.left, held.right, strict=True))
    else:
        assert not set(learned.left) & set(held.left)


def test_ranks_by_known_answers() -> None:
    encoder = Given({"q": (1, 0), "near": (1, 0.1), "nearer": (1, 0.01), "far": (0, 1), "twin": (1, 0.1)})
    others = Pairs(("x", "x"), ("nearer", "far"))
    told = matching(encoder, Pairs(("q",), ("near",)), [others])
    assert (told.recall_1, told.recall_10, told.mrr, told.pool) == (0, 1, 0.5, 3)
    tied = matching(encoder, Pairs(("q",), ("near",)), [Pairs(("x",), ("twin",))])
    assert tied.mrr == pytest.approx(1 / 1.5), "a tie counts half"
    known = matching(encoder, Pairs(("q",), ("near",)), [Pairs(("q", "x"), ("nearer", "far"))])
    assert known.mrr == 1, "what else belongs to it is no wrong answer"


def test_an_item_is_not_ranked_against_itself() -> None:
    encoder = Given({"a": (1, 0), "b": (0.9, 0.1), "c": (0, 1)})
    assert matching(encoder, Pairs(("a", "c"), ("b", "b"), alike=True)).pool == 3
    assert matching(encoder, Pairs(("a",), ("b",), alike=True)).mrr == 1


def test_nothing_held_out_is_said() -> None:
    with pytest.raises(BadInput, match="held out"):
        matching(Given({}), Pairs((), ()))


def test_the_loss_of_two_pairs_by_hand() -> None:
    own, other = torch.eye(2), torch.zeros(2, 2, dtype=torch.bool)
    assert float(loss(own, own, other)) == pytest.approx(math.log(1 + math.exp(-20)), abs=1e-6)
    assert float(loss(own, own.flip(0), other)) == pytest.approx(20 + math.log(1 + math.exp(-20)))
    assert float(loss(own, own.flip(0), ~other)) == 0, "another's partner that is as right is no wrong answer"


@pytest.mark.parametrize("kind", ["lexical", "transformer"])
def test_tuning_finds_pairs_that_it_was_not_shown(tmp_path: Path, kind: str) -> None:
    pairs = made_pairs()
    texts = [*pairs.left, *pairs.right]
    encoder = LexicalEncoder.fit(texts) if kind == "lexical" else TransformerEncoder.open(bert(tmp_path / "t", texts))
    rate = 1e-2 if kind == "lexical" else 5e-3
    learned: list[int] = []
    options = Options(epochs=20, batch=8, rate=rate, held=0.25)
    report = tune(encoder, pairs, options, tmp_path / "tuned", learned.append)
    assert report.after.mrr > report.before.mrr + 0.2
    assert sum(learned) == 20 * report.learned
    assert report.learned + report.before.pairs == len(pairs)
    told = json.loads((tmp_path / "tuned" / "tuning.json").read_bytes())
    assert told["after"]["mrr"] == report.after.mrr
    again = open_encoder(str(tmp_path / "tuned"), texts, tmp_path / "cache", lambda _: None)
    held = pairs.held_out(0.25, 1)
    assert matching(again, held[1], [held[0]]).mrr == pytest.approx(report.after.mrr, abs=1e-6)
    assert sorted(one.name for one in tmp_path.glob(".*")) == []


def test_the_same_seed_tunes_the_same(tmp_path: Path) -> None:
    pairs = made_pairs()
    folder = bert(tmp_path / "t", [*pairs.left, *pairs.right])
    options = Options(rate=1e-3, held=0.3)
    before = torch.random.get_rng_state()
    one, other = (
        tune(TransformerEncoder.open(folder), pairs, options, tmp_path / name, quiet, anyway=True) for name in "ab"
    )
    assert one == other
    assert torch.equal(torch.random.get_rng_state(), before), "nobody else's randomness is touched"


def test_a_tuning_that_does_not_help_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    pairs = made_pairs()
    encoder = LexicalEncoder.fit([*pairs.left, *pairs.right])
    options = Options(rate=1e-12, held=0.3)
    with pytest.raises(Refused, match="no better") as refused:
        tune(encoder, pairs, options, tmp_path / "tuned", quiet)
    assert refused.value.reason == "not_better"
    assert list(tmp_path.iterdir()) == []
    tune(encoder, pairs, options, tmp_path / "tuned", quiet, anyway=True)
    assert (tmp_path / "tuned" / "lexical.npz").exists()


def test_a_rate_that_is_too_high_ends_with_the_reason(tmp_path: Path) -> None:
    pairs = made_pairs()
    encoder = LexicalEncoder.fit([*pairs.left, *pairs.right])
    encoder.axes = encoder.axes * np.float32("nan")
    with pytest.raises(Exception, match="no number"):
        tune(encoder, pairs, Options(), tmp_path / "tuned", quiet)


def test_what_cannot_be_tuned_is_said(tmp_path: Path) -> None:
    pairs = made_pairs()
    (tmp_path / "there").mkdir()
    encoder = LexicalEncoder.fit(pairs.left)
    with pytest.raises(Conflict, match="there already"):
        tune(encoder, pairs, Options(), tmp_path / "there", quiet)
    with pytest.raises(BadInput, match="3 pairs: 20 are the least") as few:
        tune(encoder, Pairs(("a",) * 3, ("b",) * 3), Options(), tmp_path / "new", quiet)
    assert few.value.reason == "too_few_pairs"
    given_vectors = Given(dict.fromkeys((*pairs.left, *pairs.right), (1.0, 0.0)))
    with pytest.raises(BadInput, match="cannot be tuned"):
        tune(given_vectors, pairs, Options(), tmp_path / "new", quiet)
