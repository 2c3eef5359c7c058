"""One suite over every text encoder; what each gives for bad input; which one a catalogue gets."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.errors import ArtifactBroken, BadInput, NotFound
from models.text import Choice, chosen, encode, encoder_name, open_encoder
from models.text_encoder import Encoder, cosine, directions, finite
from models.text_language import scripts_of
from models.text_lexical import LEXICAL, LexicalEncoder, fitted
from models.text_terms import terms_of
from models.text_transformer import ENGLISH, TransformerEncoder, folder_of
from tests.models.tiny_text import bert

SHOP = (
    "黑色连衣裙 女 夏季 雪纺", "黑色连衣裙 长款 修身", "白色衬衫 男 长袖", "白色衬衫 商务 免烫", "不锈钢保温杯 500ml",
    "black summer dress", "black evening dress", "white cotton shirt", "white office shirt", "steel bottle 500ml",
)  # fmt: skip

Make = Callable[[Path], Encoder]


def _lexical(folder: Path) -> Encoder:
    return fitted(SHOP, folder / "lexical.npz")


def _transformer(folder: Path) -> Encoder:
    return TransformerEncoder.open(bert(folder / "tiny", SHOP))


def _kept(folder: Path) -> Encoder:
    return open_encoder(bert(folder / "tiny", SHOP), SHOP, folder / "cache", lambda _: None)


ENCODERS = [pytest.param(make, id=make.__name__[1:]) for make in (_lexical, _transformer, _kept)]


def quiet(_: int) -> None:
    return None


@pytest.fixture(params=ENCODERS)
def encoder(request: pytest.FixtureRequest, tmp_path: Path) -> Encoder:
    made: Encoder = request.param(tmp_path)
    return made


def test_each_text_has_a_vector_in_its_place(encoder: Encoder) -> None:
    vectors = encoder.encode(SHOP, quiet)
    assert vectors.shape == (len(SHOP), encoder.width)
    assert vectors.dtype == np.float32
    turned = encoder.encode(SHOP[::-1], quiet)
    np.testing.assert_allclose(turned[::-1], vectors, atol=1e-5)


def test_no_text_no_vector(encoder: Encoder) -> None:
    assert encoder.encode([], quiet).shape == (0, encoder.width)


def test_the_same_text_has_the_same_vector(encoder: Encoder, tmp_path: Path) -> None:
    first = encoder.encode(SHOP, quiet)
    assert np.array_equal(encoder.encode(SHOP, quiet), first)
    assert np.array_equal(encoder.encode([SHOP[3]] * 2, quiet)[0], encoder.encode([SHOP[3]] * 2, quiet)[1])


def test_alike_texts_are_nearer_than_others(encoder: Encoder) -> None:
    dress, long_dress, shirt, _, bottle, black, evening, white, *_ = directions(encoder.encode(SHOP, quiet))
    assert dress @ long_dress > max(dress @ shirt, dress @ bottle)
    assert black @ evening > black @ white


@pytest.mark.parametrize("text", ["", " \n\t", "👗👠", "?!…。", "\u0000\ufffd", "a" * 100_000, "连衣裙" * 33_334])
def test_odd_texts_have_numbers(encoder: Encoder, text: str) -> None:
    vectors = encoder.encode([text, SHOP[0]], quiet)
    assert np.isfinite(vectors).all()
    np.testing.assert_allclose(vectors[1], encoder.encode([SHOP[0]], quiet)[0], atol=1e-5)


def test_what_is_far_behind_in_a_text_is_not_read(encoder: Encoder) -> None:
    long = "连衣裙 " * 2_000
    assert np.array_equal(encoder.encode([long], quiet), encoder.encode([long + "x" * 100_000], quiet))


@given(st.lists(st.text(max_size=40), max_size=5))
def test_any_text_has_finite_lexical_vectors_of_length_one_or_none(texts: list[str]) -> None:
    vectors = _OF_SHOP.encode(texts, quiet)
    length = np.linalg.norm(vectors, axis=1)
    assert np.all((np.abs(length - 1) < 1e-5) | (length == 0))


_OF_SHOP = LexicalEncoder(["=dress", "=shirt"], np.ones(2, np.float32), np.eye(2, dtype=np.float32), "")


def test_a_text_without_a_known_word_is_zeros_and_near_to_nothing() -> None:
    unknown, known = _OF_SHOP.encode(["ζ", "dress"], quiet)
    assert not unknown.any()
    assert cosine(unknown, known) == 0.0
    assert cosine(known, known) == pytest.approx(1.0)


def test_words_and_parts_of_words_are_terms() -> None:
    terms = terms_of("黑色连衣裙 Ｂlack-dress XL2")
    assert {"=黑色", "=连衣裙", "黑", "衣裙", "=black", "=dress", " dr", "ess ", "=xl2"} <= set(terms)
    assert terms_of("。 ,") == []


def test_an_encoder_is_fitted_once_for_a_catalogue_whatever_its_order(tmp_path: Path) -> None:
    file = tmp_path / "kept" / "lexical.npz"
    first = fitted(SHOP, file)
    stamp = file.stat().st_mtime_ns
    again = fitted(SHOP[::-1], file)
    assert file.stat().st_mtime_ns == stamp
    assert np.array_equal(again.axes, first.axes)
    assert again.terms == first.terms
    assert fitted((*SHOP, "红茶"), file).fingerprint != first.fingerprint
    assert [one.name for one in file.parent.iterdir()] == ["lexical.npz"]


def test_two_fits_of_one_catalogue_are_equal() -> None:
    many = [f"item {number} colour{number % 7} 尺码{number % 11} kind{number % 5}" for number in range(400)]
    one, other = LexicalEncoder.fit(many, 16), LexicalEncoder.fit(many[::-1], 16)
    assert one.width == 16
    np.testing.assert_allclose(
        one.encode(many, quiet) @ one.encode(many, quiet).T, other.encode(many, quiet) @ other.encode(many, quiet).T,
        atol=1e-3,
    )  # fmt: skip


@pytest.mark.parametrize("harm", ["cut", "garbage", "pickle", "nan", "shape", "format"])
def test_a_broken_file_is_named_and_not_read(tmp_path: Path, harm: str) -> None:
    file = tmp_path / "lexical.npz"
    encoder = LexicalEncoder.fit(SHOP)
    if harm == "nan":
        encoder.axes = encoder.axes * np.float32("nan")
    if harm == "shape":
        encoder.idf = encoder.idf[1:]
    encoder.save(file)
    if harm == "cut":
        file.write_bytes(file.read_bytes()[:-400])
    if harm == "garbage":
        file.write_bytes(b"no npz")
    if harm == "pickle":
        np.savez(file, terms=np.array([{"a": 1}], dtype=object))
    if harm == "format":
        with np.load(file) as stored:
            arrays = dict(stored)
        np.savez(file, **{**arrays, "format": np.array(99)})
    with pytest.raises(ArtifactBroken, match=r"lexical\.npz.*delete it"):
        LexicalEncoder.open(file)


@pytest.mark.parametrize("texts", [[], ["", " "], ["👗"]])
def test_a_catalogue_without_text_fits_nothing(texts: list[str]) -> None:
    with pytest.raises(BadInput) as refused:
        LexicalEncoder.fit(texts)
    assert refused.value.reason == "no_text"


def test_one_text_is_enough_to_fit() -> None:
    assert LexicalEncoder.fit(["tea"]).encode(["tea"], quiet).shape == (1, 1)


def test_a_wrong_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for setting in (str(tmp_path / "empty"), str(tmp_path / "none"), "no/such-model"):
        with pytest.raises(NotFound, match=r"no transformers model") as refused:
            TransformerEncoder.open(setting)
        assert refused.value.path == "text_encoder"


@pytest.mark.parametrize("harm", ["cut", "missing"])
def test_half_a_model_is_refused_and_not_made_up(tmp_path: Path, harm: str) -> None:
    from safetensors.torch import load_file, save_file

    folder = Path(bert(tmp_path / "tiny", SHOP))
    weights = folder / "model.safetensors"
    if harm == "cut":
        weights.write_bytes(weights.read_bytes()[:-100])
    else:
        kept = {name: value for name, value in load_file(weights).items() if "attention" not in name}
        save_file(kept, weights, metadata={"format": "pt"})
    with pytest.raises(ArtifactBroken, match=r"the model tiny is incomplete"):
        TransformerEncoder.open(str(folder))


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    encoder = TransformerEncoder.open(bert(tmp_path / "tiny", SHOP))
    encoder.model.embeddings.word_embeddings.weight.data.fill_(float("nan"))
    with pytest.raises(ArtifactBroken, match="NaN"):
        encoder.encode(["dress"], quiet)
    with pytest.raises(ArtifactBroken):
        finite(np.array([[np.inf]], np.float32), "x")


def test_texts_are_encoded_once_and_a_model_tuned_anew_is_asked_anew(tmp_path: Path) -> None:
    asked: list[int] = []
    folder = bert(tmp_path / "tiny", SHOP)
    first = encode(SHOP, folder, tmp_path / "cache", asked.append)
    encode(SHOP, folder, tmp_path / "cache", asked.append)
    assert sum(asked) == len(SHOP)
    bert(tmp_path / "tiny", SHOP, seed=2)
    second = encode(SHOP, folder, tmp_path / "cache", asked.append)
    assert sum(asked) == 2 * len(SHOP)
    assert not np.allclose(first, second)


def test_a_cache_cut_short_is_made_anew(tmp_path: Path) -> None:
    folder = bert(tmp_path / "tiny", SHOP)
    first = encode(SHOP, folder, tmp_path / "cache", quiet)
    [file] = (tmp_path / "cache").iterdir()
    file.write_bytes(file.read_bytes()[:50])
    assert np.array_equal(encode(SHOP, folder, tmp_path / "cache", quiet), first)


def test_english_gets_the_english_default() -> None:
    assert chosen("", ["black dress", "white shirt", ""]) == Choice(ENGLISH)
    assert chosen("", []) == Choice(ENGLISH)
    assert encoder_name("") == ENGLISH


@pytest.mark.parametrize(
    "texts",
    [
        ["黑色连衣裙", "白色衬衫"],
        ["black dress 黑色连衣裙", "white shirt 白色衬衫"],
        ["чёрное платье"],
        ["검은 드레스"],
    ],
)
def test_other_scripts_get_the_lexical_one_with_a_word_that_names_the_setting(texts: list[str]) -> None:
    choice = chosen("", texts)
    assert choice.setting == LEXICAL
    [word] = choice.words
    assert "DAOGOU_TEXT_ENCODER" in word


def test_accents_keep_the_default_with_a_word() -> None:
    choice = chosen("", ["schwarzes Kleid für den Sommer", "weißes Hemd, größer"])
    assert choice.setting == ENGLISH
    assert "DAOGOU_TEXT_ENCODER=lexical" in choice.words[0]


def test_what_is_set_is_taken_and_said_to_be_poor_where_it_knows_no_word(tmp_path: Path) -> None:
    said: list[str] = []
    english = [text for text in SHOP if text.isascii()]
    folder = bert(tmp_path / "english", english)
    open_encoder(folder, english, tmp_path, said.append)
    assert said == []
    open_encoder(folder, ["黑色连衣裙"], tmp_path, said.append)
    assert len(said) == 1
    assert "english has no word for 100% of the catalogue's text" in said[0]
    assert "DAOGOU_TEXT_ENCODER" in said[0]


def test_scripts_are_shares_of_letters() -> None:
    mixed = scripts_of(["ab 12", "黑色", "üx"])
    assert (mixed.cjk, mixed.latin, mixed.accented) == (2 / 6, 4 / 6, 1 / 6)
    assert scripts_of(["123"]).foreign == 0.0


def test_the_english_default_is_found_by_its_name() -> None:
    assert (Path(folder_of(ENGLISH)) / "config.json").exists()
    assert folder_of("x/y") == "x/y"


def test_without_jieba_the_lexical_encoder_says_what_to_do() -> None:
    code = (
        "import sys; sys.modules['jieba'] = None\n"
        "from infra.errors import NotFound\n"
        "from models.text_terms import terms_of\n"
        "assert terms_of('dress')\n"
        "try:\n    terms_of('连衣裙')\n"
        "except NotFound as error:\n    print(error.message)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "needs jieba: install daogou[models]" in told.stdout
