"""LAION's watermark detector: the real architecture with random weights, beside the plain loop."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from coyo_tools.pieces.scores.base import Sample, Setup
from coyo_tools.pieces.scores.watermark_score_laion import SCORE, WatermarkDetector
from coyo_tools.words.errors import WeightsError
from tests.pieces.scores.odd_pictures import decoded, odd_pictures
from tests.pieces.scores.prepared_alike import assert_prepares_alike
from tests.tars import photographs

torch = pytest.importorskip("torch", reason="needs the score extra")
timm = pytest.importorskip("timm", reason="needs the score extra")


def plain_model() -> Any:
    """As LAION's example_use.py builds it, under the name timm had for it then."""
    torch.manual_seed(0)
    model = timm.create_model("efficientnet_b3a", pretrained=False, num_classes=2)
    model.classifier = torch.nn.Sequential(
        torch.nn.Linear(in_features=1536, out_features=625),
        torch.nn.ReLU(),
        torch.nn.Dropout(p=0.3),
        torch.nn.Linear(in_features=625, out_features=256),
        torch.nn.ReLU(),
        torch.nn.Linear(in_features=256, out_features=2),
    )
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model(torch.randn(4, 3, 256, 256))  # sets the statistics, so that numbers stay moderate
    return model.eval()


@pytest.fixture(scope="module")
def model() -> Any:
    with pytest.warns(UserWarning, match="efficientnet_b3a to current efficientnet_b3"):
        return plain_model()


@pytest.fixture(scope="module")
def weights(model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As LAION keeps them: among other things of a training run."""
    path = tmp_path_factory.mktemp("watermark") / "watermark_model_v1.pt"
    torch.save({"epoch": 3, "weights": model.state_dict()}, path)
    return path


@pytest.fixture(scope="module")
def scorer(weights: Path) -> WatermarkDetector:
    found = SCORE.load(Setup(weights=weights))
    assert isinstance(found, WatermarkDetector)
    return found


def test_equal_to_the_plain_timm_loop(scorer: WatermarkDetector, model: Any) -> None:
    from torchvision import transforms as T

    pictures = photographs(4)
    preprocessing = T.Compose(
        [
            T.Resize((256, 256)),
            T.ToTensor(),
            T.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    images = [Image.open(io.BytesIO(data)).convert("RGB") for data in pictures]
    with torch.no_grad():
        expected = torch.softmax(model(torch.stack([preprocessing(i) for i in images])), 1)[:, 0]
    samples = [Sample("k", None, decoded(data)) for data in pictures]
    (found,) = scorer.score([scorer.prepare(sample) for sample in samples])
    assert found.dtype == np.float32
    assert np.abs(found - expected.numpy()).max() < 1e-6
    assert found.std() > 1e-5  # the pictures differ


def test_plain_and_safe_files_are_taken(model: Any, weights: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    torch.save(model.state_dict(), tmp_path / "plain.pt")
    save_file(model.state_dict(), tmp_path / "safe.safetensors")
    picture = Sample("k", None, decoded(photographs(1)[0]))
    found = []
    for path in (weights, tmp_path / "plain.pt", tmp_path / "safe.safetensors"):
        scorer = SCORE.load(Setup(weights=path))
        assert isinstance(scorer, WatermarkDetector)
        found.append(float(scorer.score([scorer.prepare(picture)])[0][0]))
    assert len(set(found)) == 1


def test_odd_pictures_have_a_score(scorer: WatermarkDetector) -> None:
    prepared = [scorer.prepare(Sample(n, None, decoded(data))) for n, data in odd_pictures()]
    (found,) = scorer.score(prepared[:6])
    assert ((found >= 0) & (found <= 1)).all()
    assert {tuple(tensor.shape) for tensor in prepared} == {(3, 256, 256)}


def test_wrong_weights_are_named(model: Any, tmp_path: Path) -> None:
    tensors = {n: t for n, t in model.state_dict().items() if n != "classifier.5.bias"}
    torch.save(tensors, tmp_path / "few.pt")
    with pytest.raises(WeightsError, match=r"few\.pt: these are no weights of LAION's .*5\.bias"):
        SCORE.load(Setup(weights=tmp_path / "few.pt"))


def test_it_prepares_without_its_network(weights: Path) -> None:
    samples = [Sample("k", None, decoded(data)) for data in photographs(3)]
    assert_prepares_alike(SCORE.load, Setup(weights=weights), samples)
