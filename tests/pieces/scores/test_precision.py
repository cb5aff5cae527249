"""Half precision of the models that are kept in float32, on the CPU: every one of them takes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coyo_tools.pieces.decoding import decode
from coyo_tools.pieces.scores import align_similarity, vit_labels
from coyo_tools.pieces.scores.base import Sample, Score
from coyo_tools.pieces.scores.keras_network import KerasNetwork
from coyo_tools.pieces.scores.lanes import load_lanes
from coyo_tools.pieces.scores.precision import arithmetic
from tests.pieces.scores.small_hub import make_align, make_vit
from tests.pieces.scores.test_keras_network import model as keras_model
from tests.tars import photographs

torch = pytest.importorskip("torch", reason="needs the score extra")
pytest.importorskip("transformers", reason="needs the score extra")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own


@pytest.mark.parametrize(
    ("score", "make"), [(align_similarity.SCORE, make_align), (vit_labels.SCORE, make_vit)]
)
def test_models_of_the_hub(score: Score, make: Callable[[Path], Path], tmp_path: Path) -> None:
    folder = make(tmp_path)
    samples = [Sample("k", "a cat", decode(data)) for data in photographs(4)]  # type: ignore[arg-type]

    def values(precision: str) -> np.ndarray[Any, Any]:
        (lane,) = load_lanes([score], "cpu", precision, {score.name: folder})
        found = lane.scorer.score([lane.scorer.prepare(each) for each in samples])
        return np.asarray(found[-1])

    exact, half = values("fp32"), values("bf16")
    assert half.dtype == exact.dtype
    assert 1e-7 < np.abs(exact - half).max() < 0.05
    assert not np.array_equal(half, half.astype(np.float16))  # rounded inside, not at the end


def test_a_network_of_keras() -> None:
    config, arrays = keras_model(33)
    pictures = np.random.default_rng(3).random((3, 33, 33, 3), np.float32)
    exact = KerasNetwork(config, arrays)(pictures)
    half = KerasNetwork(config, arrays, "cpu", "bf16")(pictures)
    assert half.dtype == np.float32
    assert 1e-7 < np.abs(exact - half).max() < 0.05


def test_nothing_is_changed_outside() -> None:
    a = torch.ones(2, 2)
    with arithmetic("cpu", "bf16"):
        assert (a @ a).dtype == torch.bfloat16
    with arithmetic("cpu", "fp32"):
        assert (a @ a).dtype == torch.float32
    assert (a @ a).dtype == torch.float32
