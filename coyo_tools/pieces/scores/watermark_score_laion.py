"""watermark_score_laion: LAION's watermark detector, pwatermark of LAION-5B's metadata."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coyo_tools.pieces.scores.base import IMAGE, Sample, Score, ScoreColumn, Setup
from coyo_tools.pieces.scores.precision import arithmetic
from coyo_tools.pieces.scores.weights import load_tensors
from coyo_tools.pieces.scores.weights_files import LAION_WATERMARK
from coyo_tools.words.errors import WeightsError

_SIDE = 256
_WATERMARK = 0  # of the two classes; the other is "clear"


class WatermarkDetector:
    """An EfficientNet-B3 with a head of three layers, as LAION's inference.py builds it."""

    def __init__(self, setup: Setup) -> None:
        from torchvision import transforms

        assert setup.weights is not None
        self._device, self._precision = setup.device, setup.precision
        self._model: Any = None
        if not setup.prepares_only:
            self._model = build_model(setup.weights).to(setup.device)
        self._preprocess = transforms.Compose(
            [
                transforms.Resize((_SIDE, _SIDE)),
                transforms.ToTensor(),
                transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
            ]
        )

    def prepare(self, sample: Sample) -> Any:
        """The picture, squeezed into a square (bilinear): a float32 tensor (3, 256, 256)."""
        assert sample.image is not None
        return self._preprocess(sample.image.convert("RGB"))

    def score(self, prepared: Sequence[Any]) -> Sequence[Any]:
        """The probability of a watermark, 0 to 1."""
        import torch

        with torch.inference_mode(), arithmetic(self._device, self._precision):
            found = self._model(torch.stack(list(prepared)).to(self._device))
            return (torch.softmax(found.float(), 1)[:, _WATERMARK].cpu().numpy(),)


def build_model(weights: Path) -> Any:
    """The network with these weights, in evaluation mode on the CPU. Raises WeightsError."""
    import timm
    from torch import nn

    tensors = load_tensors(weights, LAION_WATERMARK.formats)
    model = timm.create_model("efficientnet_b3", pretrained=False)  # once called b3a
    model.classifier = nn.Sequential(
        nn.Linear(1536, 625),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(625, 256),
        nn.ReLU(),
        nn.Linear(256, 2),
    )
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        detail = str(error).splitlines()[-1].strip()[:200]
        raise WeightsError(
            f"these are no weights of LAION's watermark detector: {detail}",
            where=str(weights),
            todo="name the right file with --weights watermark_score_laion=PATH",
        ) from error
    return model.eval()


SCORE = Score(
    name="watermark_score_laion",
    columns=(
        ScoreColumn(
            "watermark_score_laion",
            "float32",
            "probability of a watermark by LAION's detector, 0 to 1; pwatermark of LAION's "
            "metadata",
        ),
    ),
    inputs=(IMAGE,),
    model="LAION-5B-WatermarkDetection v1: EfficientNet-B3 of timm with a head 1536-625-256-2, at "
    f"{_SIDE} x {_SIDE} px",
    licence="MIT",
    load=WatermarkDetector,
    weights=LAION_WATERMARK,
    note="another model and another scale than COYO's watermark_score, with which parity is not "
    "expected; pictures stored smaller than the original move it",
    extra="score",
    packages=("torch", "torchvision", "timm"),
    distributions=("timm", "torch", "torchvision"),
)
