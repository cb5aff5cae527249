"""ALIGN, against the plain transformers loop on the same random weights."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coyo_tools.pieces.decoding import decode
from coyo_tools.pieces.scores import choose
from coyo_tools.pieces.scores.align_similarity import SCORE, declare
from coyo_tools.pieces.scores.base import Sample, Setup, weights_of
from coyo_tools.pieces.scores.families import Choice
from coyo_tools.pieces.scores.lanes import load_lanes
from coyo_tools.words.errors import SettingsError, WeightsError
from tests.pieces.scores.prepared_alike import assert_prepares_alike
from tests.pieces.scores.small_hub import (
    CAPTIONS,
    as_torch_file,
    make_align,
    make_vit,
    set_config,
)
from tests.tars import photographs

torch = pytest.importorskip("torch", reason="needs the score extra")
transformers = pytest.importorskip("transformers", reason="needs the score extra")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_align(tmp_path_factory.mktemp("align"))


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    pictures = [decode(data) for data in photographs(24)[12:18]]
    return [Sample("k", c, p) for c, p in zip(CAPTIONS, pictures, strict=True)]  # type: ignore[arg-type]


def load_scorer(folder: Path) -> Any:
    (lane,) = load_lanes([SCORE], "cpu", "fp32", {SCORE.name: folder})
    return lane.scorer


def plain_loop(folder: Path, samples: list[Sample]) -> np.ndarray:
    """One picture at a time, as transformers' documentation shows it, captions cut at 64 tokens."""
    model = transformers.AlignModel.from_pretrained(folder).eval()
    processor = transformers.AutoProcessor.from_pretrained(folder)
    found = []
    with torch.no_grad():
        for sample in samples:
            assert sample.image is not None
            inputs = processor(
                text=[sample.caption],
                images=sample.image.convert("RGB"),
                padding="max_length",
                max_length=64,
                truncation=True,
                return_tensors="pt",
            )
            outputs = model(**inputs)
            found.append(float((outputs.image_embeds * outputs.text_embeds).sum()))
    return np.array(found)


def test_equal_to_the_plain_loop(folder: Path, samples: list[Sample]) -> None:
    scorer = load_scorer(folder)
    (found,) = scorer.score([scorer.prepare(sample) for sample in samples])
    expected = plain_loop(folder, samples)
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < 1e-5
    assert found.std() > 1e-3  # random weights, yet the values tell pictures and captions apart


def test_a_torch_file_gives_the_same(folder: Path, samples: list[Sample], tmp_path: Path) -> None:
    other = shutil.copytree(folder, tmp_path / "other")
    as_torch_file(other)
    scorers = [load_scorer(each) for each in (folder, other)]
    found = [s.score([s.prepare(sample) for sample in samples[:3]])[0] for s in scorers]
    assert np.array_equal(*found)


def test_loading_says_nothing(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load_scorer(folder)
    assert capfd.readouterr() == ("", "")


def test_no_caption_gives_no_value(folder: Path, samples: list[Sample]) -> None:
    assert load_scorer(folder).prepare(Sample("k", None, samples[0].image)) is None


def test_captions_may_be_made_ready_in_several_threads(folder: Path, samples: list[Sample]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    scorer = load_scorer(folder)
    with ThreadPoolExecutor(8) as pool:
        many = list(pool.map(scorer.prepare, samples * 20))
    for (_, tokens), (_, again) in zip(many[-6:], map(scorer.prepare, samples), strict=True):
        assert all(torch.equal(tokens[name], again[name]) for name in again)


def test_what_is_wrong_with_a_folder_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="vit: holds a model of the kind 'vit', not 'align'"):
        load_scorer(make_vit(tmp_path / "vit"))
    from safetensors.torch import load_file, save_file

    lacking = shutil.copytree(folder, tmp_path / "lacking")
    tensors = load_file(lacking / "model.safetensors")
    del tensors["text_projection.weight"]
    save_file(tensors, lacking / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        WeightsError, match=r"not all weights of the model: text_projection\.weight"
    ):
        load_scorer(lacking)
    other = shutil.copytree(folder, tmp_path / "other")
    set_config(other, projection_dim=32)
    with pytest.raises(WeightsError, match=r"not all weights of the model|cannot be loaded"):
        load_scorer(other)
    cut = shutil.copytree(folder, tmp_path / "cut")
    whole = (cut / "model.safetensors").read_bytes()
    (cut / "model.safetensors").write_bytes(whole[:-100])
    with pytest.raises(WeightsError, match="cut: cannot be loaded"):
        load_scorer(cut)


class Opens:
    """Does something when it is unpickled."""

    def __reduce__(self) -> Any:
        return (open, ("owned", "w"))


def test_nothing_is_unpickled_and_no_code_of_the_repository_runs(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    evil = shutil.copytree(folder, tmp_path / "evil")
    (evil / "model.safetensors").unlink()
    torch.save({"a": Opens()}, evil / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="evil: cannot be loaded"):
        load_scorer(evil)
    code = shutil.copytree(folder, tmp_path / "code")
    (code / "own.py").write_text("open('owned', 'w')\nclass Own: ...\n")
    set_config(code, auto_map={"AutoModel": "own.Own"}, architectures=["Own"])
    load_scorer(code)
    assert not (tmp_path / "owned").exists()


def test_another_model_has_a_column_and_files_of_its_own() -> None:
    score = declare(Choice("someone/Align-2@v1.0"))
    assert score.name == score.columns[0].name == "align_similarity_someone_align_2_v1_0"
    (weights,) = weights_of([score]).values()
    assert (weights.repository, weights.revision) == ("someone/Align-2", "v1.0")
    assert choose(["align_similarity"]).scores == (SCORE,)
    with pytest.raises(SettingsError, match="'align' is no model of the hub; write OWNER/NAME"):
        choose(["align_similarity"], ["align"])


@pytest.mark.slow
def test_the_full_size_model(tmp_path: Path, samples: list[Sample]) -> None:
    folder = make_align(tmp_path, full_size=True)
    scorer = load_scorer(folder)
    (found,) = scorer.score([scorer.prepare(sample) for sample in samples[:2]])
    assert np.abs(found - plain_loop(folder, samples[:2])).max() < 1e-5


def test_it_prepares_without_its_model(folder: Path, samples: list[Sample]) -> None:
    assert SCORE.encoder is not None
    setup = Setup(weights=folder)
    assert_prepares_alike(SCORE.encoder.load, setup, samples[:3], with_text=True)
