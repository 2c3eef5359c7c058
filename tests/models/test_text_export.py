"""An encoder exported to ONNX is the same encoder, smaller where asked, and is read without torch."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from infra.errors import ArtifactBroken, BadInput, Conflict, NotFound
from models.text import open_encoder
from models.text_encoder import directions
from models.text_export import ExportReport, export
from models.text_onnx import OnnxEncoder
from models.text_transformer import TransformerEncoder
from tests.models.tiny_text import bert

TEXTS = ("black dress", "white shirt", "black shirt for men", "黑色连衣裙", "白色衬衫", "tea", "")
ODD = ("", "👗", "?!", "dress " * 20_000, "x" * 100_000, *TEXTS)


def quiet(_: int) -> None:
    return None


class Exported:
    def __init__(self, root: Path) -> None:
        self.original = TransformerEncoder.open(bert(root / "tiny", TEXTS, width=32))
        self.reports: dict[str, ExportReport] = {}
        self.folders = {"fp32": root / "fp32", "int8": root / "int8"}
        for name, folder in self.folders.items():
            self.reports[name] = export(self.original, TEXTS, folder, int8=name == "int8", cpu_s=_Ticks())


class _Ticks:
    """A clock that goes on by a second at each look."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return Exported(tmp_path_factory.mktemp("export"))


def test_the_exported_encoder_is_the_same_for_texts_of_any_number_and_length(exported: Exported) -> None:
    encoder = OnnxEncoder.open(exported.folders["fp32"])
    np.testing.assert_allclose(encoder.encode(ODD, quiet), exported.original.encode(ODD, quiet), atol=1e-5)
    np.testing.assert_allclose(encoder.encode(["tea"], quiet), exported.original.encode(["tea"], quiet), atol=1e-5)
    assert encoder.encode([], quiet).shape == (0, 32)
    assert encoder.width == exported.original.width


def test_int8_is_smaller_and_close(exported: Exported) -> None:
    whole, small = (exported.folders[name] / "encoder.onnx" for name in ("fp32", "int8"))
    assert small.stat().st_size < whole.stat().st_size
    encoder = OnnxEncoder.open(exported.folders["int8"])
    assert encoder.name == "tiny (int8)"
    alike = directions(encoder.encode(TEXTS, quiet)) * directions(exported.original.encode(TEXTS, quiet))
    assert alike.sum(1).min() > 0.98


def test_the_report_tells_size_speed_and_quality(exported: Exported) -> None:
    report = exported.reports["fp32"]
    assert (report.sample, report.original.name) == (7, "tiny")
    assert report.original.texts_per_cpu_s == report.exported.texts_per_cpu_s == 7.0
    assert report.exported.cosine_least == pytest.approx(1, abs=1e-5)
    assert report.exported.nearest_kept == 1
    assert report.exported.bytes == (exported.folders["fp32"] / "encoder.onnx").stat().st_size
    small = exported.reports["int8"].exported
    assert 0.98 < small.cosine_least <= small.cosine_mean < 1
    told = json.loads((exported.folders["int8"] / "export.json").read_bytes())
    assert told["exported"]["bytes"] == small.bytes
    assert sorted(one.name for one in exported.folders["int8"].iterdir()) == [
        "encoder.json", "encoder.onnx", "export.json", "tokenizer.json",
    ]  # fmt: skip


def test_the_reader_and_the_lexical_encoder_bring_neither_torch_nor_transformers(exported: Exported) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from models.text_onnx import OnnxEncoder\n"
        "from models.text_lexical import LexicalEncoder\n"
        "assert 'onnxruntime' not in sys.modules\n"
        f"vectors = OnnxEncoder.open(Path({str(exported.folders['int8'])!r})).encode(['tea'], lambda _: None)\n"
        "LexicalEncoder.fit(['black dress']).encode(['dress'], lambda _: None)\n"
        "print(vectors.shape, sorted({'torch', 'transformers', 'torchrec', 'feast'} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "(1, 32) []"


def test_an_exported_folder_is_an_encoder_by_setting(exported: Exported, tmp_path: Path) -> None:
    encoder = open_encoder(str(exported.folders["fp32"]), TEXTS, tmp_path, lambda _: None)
    assert encoder.name == "tiny (ONNX)"


@pytest.mark.parametrize("harm", ["cut", "missing", "tokenizer", "card", "format"])
def test_a_broken_export_is_named(exported: Exported, tmp_path: Path, harm: str) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    for file in exported.folders["int8"].iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    graph, words, card = (folder / name for name in ("encoder.onnx", "tokenizer.json", "encoder.json"))
    if harm == "cut":
        graph.write_bytes(graph.read_bytes()[:-10])
    if harm == "missing":
        graph.unlink()
    if harm == "tokenizer":
        words.write_text("{}")
    if harm == "card":
        card.write_text("{")
    if harm == "format":
        card.write_text(card.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(ArtifactBroken, match=r"broken.*export it anew"):
        OnnxEncoder.open(folder)


def test_what_is_no_export_is_said(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(NotFound, match="daogou text export"):
            OnnxEncoder.open(folder)


def test_an_export_needs_texts_and_a_free_folder(exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no text to measure"):
        export(exported.original, ["one"], tmp_path / "new", int8=False)
    with pytest.raises(Conflict):
        export(exported.original, TEXTS, tmp_path, int8=False)
    assert list(tmp_path.iterdir()) == []
