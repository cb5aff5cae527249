"""ViT's labels, against the plain transformers loop on the same random weights."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from coyo_tools.pieces.decoding import decode
from coyo_tools.pieces.scores import choose
from coyo_tools.pieces.scores.base import Sample, Setup, weights_of
from coyo_tools.pieces.scores.lanes import load_lanes
from coyo_tools.pieces.scores.vit_labels import SCORE, TOP
from tests.pieces.scores.prepared_alike import assert_prepares_alike
from tests.pieces.scores.small_hub import as_torch_file, make_vit
from tests.tars import photographs

torch = pytest.importorskip("torch", reason="needs the score extra")
transformers = pytest.importorskip("transformers", reason="needs the score extra")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_vit(tmp_path_factory.mktemp("vit"))


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    """Photographs, with palette, alpha and grey ones among them."""
    return [Sample("k", None, decode(data)) for data in photographs(60)[::10]]  # type: ignore[arg-type]


def load_scorer(folder: Path) -> Any:
    (lane,) = load_lanes([SCORE], "cpu", "fp32", {SCORE.name: folder})
    return lane.scorer


def plain_loop(folder: Path, samples: list[Sample]) -> tuple[list[list[str]], np.ndarray]:
    """One picture at a time, as transformers' documentation shows it."""
    model = transformers.ViTForImageClassification.from_pretrained(folder).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    names, values = [], []
    with torch.no_grad():
        for sample in samples:
            assert sample.image is not None
            inputs = processor(images=sample.image.convert("RGB"), return_tensors="pt")
            found = model(**inputs).logits[0].softmax(dim=-1).topk(TOP)
            names.append([model.config.id2label[int(number)] for number in found.indices])
            values.append(found.values.numpy())
    return names, np.array(values)


def test_equal_to_the_plain_loop(folder: Path, samples: list[Sample]) -> None:
    scorer = load_scorer(folder)
    names, probabilities = scorer.score([scorer.prepare(sample) for sample in samples])
    expected_names, expected = plain_loop(folder, samples)
    assert names == expected_names
    assert np.abs(np.array(probabilities) - expected).max() < 1e-5
    assert len({tuple(row) for row in names}) > 1
    assert all(row == sorted(row, reverse=True) for row in probabilities)


def test_a_torch_file_gives_the_same(folder: Path, samples: list[Sample], tmp_path: Path) -> None:
    other = shutil.copytree(folder, tmp_path / "other")
    as_torch_file(other)
    scorers = [load_scorer(each) for each in (folder, other)]
    found = [s.score([s.prepare(sample) for sample in samples[:2]]) for s in scorers]
    assert found[0] == found[1]


def test_its_two_columns_are_lists() -> None:
    labels, probabilities = SCORE.columns
    assert labels.arrow_type() == pa.list_(pa.string())
    assert probabilities.arrow_type() == pa.list_(pa.float32())


def test_another_model_has_columns_of_its_own() -> None:
    asked = ["vit_probs", "vit_labels", "vit_labels"]
    chosen = choose(asked, ["google/vit-base-patch16-224"])
    assert chosen.columns == (
        "vit_probs_google_vit_base_patch16_224",
        "vit_labels_google_vit_base_patch16_224",
    )
    (score,) = chosen.scores
    assert [w.repository for w in weights_of([score]).values()] == ["google/vit-base-patch16-224"]
    assert choose(["vit_probs"]).columns == ("vit_probs",)


@pytest.mark.slow
def test_the_full_size_model(tmp_path: Path, samples: list[Sample]) -> None:
    folder = make_vit(tmp_path, full_size=True)
    scorer = load_scorer(folder)
    names, probabilities = scorer.score([scorer.prepare(sample) for sample in samples[:2]])
    expected_names, expected = plain_loop(folder, samples[:2])
    assert names == expected_names
    assert np.abs(np.array(probabilities) - expected).max() < 1e-5


def test_it_prepares_without_its_model(folder: Path, samples: list[Sample]) -> None:
    assert_prepares_alike(SCORE.load, Setup(weights=folder), samples[:3])
