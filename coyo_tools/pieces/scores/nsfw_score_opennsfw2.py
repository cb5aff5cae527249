"""nsfw_score_opennsfw2: Yahoo's open_nsfw, through opennsfw2 or as an ONNX file."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coyo_tools.pieces.scores.base import IMAGE, Sample, Score, ScoreColumn, Setup
from coyo_tools.pieces.scores.onnx_session import device_of, open_session
from coyo_tools.pieces.scores.weights import HDF5, check_file
from coyo_tools.pieces.scores.weights_files import OPEN_NSFW
from coyo_tools.words.errors import WeightsError

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    Batch = np.ndarray[Any, np.dtype[np.float32]]

_RESIZED, _SIDE = 256, 224
_MEAN_BGR = (104, 117, 123)  # of the training set


def yahoo_preprocess(image: Image.Image) -> Batch:
    """A picture as the network was trained to see it: float32 (224, 224, 3), BGR, mean taken off.

    Resized to 256 x 256 (bilinear), saved as JPEG and read again, cropped at the centre:
    classify_nsfw.py of yahoo/open_nsfw. Equal to opennsfw2's Preprocessing.YAHOO.
    """
    import numpy as np
    from PIL import Image

    small = image.convert("RGB").resize((_RESIZED, _RESIZED), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    small.save(buffer, format="JPEG")
    pixels = np.asarray(Image.open(buffer), dtype=np.float32)
    edge = (_RESIZED - _SIDE) // 2
    crop = pixels[edge : edge + _SIDE, edge : edge + _SIDE, ::-1]
    return crop - np.array(_MEAN_BGR, dtype=np.float32)


class NsfwScorer:
    """The network behind one function from a batch (n, 224, 224, 3) to probabilities (n, 2).

    device: where it runs.
    """

    def __init__(self, predict: Callable[[Batch], Batch] | None, device: str) -> None:
        self._predict, self.device = predict, device

    def prepare(self, sample: Sample) -> Batch:
        """The picture, preprocessed."""
        assert sample.image is not None
        return yahoo_preprocess(sample.image)

    def score(self, prepared: Sequence[Batch]) -> Sequence[Any]:
        """The probability of "not safe for work", 0 to 1."""
        import numpy as np

        assert self._predict is not None
        return (self._predict(np.stack(prepared))[:, 1],)


def _load(setup: Setup) -> NsfwScorer:
    assert setup.weights is not None
    if setup.prepares_only:
        return NsfwScorer(None, setup.device)
    kind = check_file(setup.weights, OPEN_NSFW.formats)
    make = _keras_network if kind == HDF5 else _onnx_network
    return NsfwScorer(*make(setup.weights, setup.device))


def _keras_network(weights: Path, device: str) -> tuple[Callable[[Batch], Batch], str]:
    if "keras" not in sys.modules:  # it reads these once, when it is imported
        os.environ["KERAS_BACKEND"] = "torch"
        os.environ["KERAS_TORCH_DEVICE"] = device
    import opennsfw2
    import torch

    try:
        model = opennsfw2.make_open_nsfw_model(weights_path=str(weights))
    except Exception as error:  # h5py and keras raise anything on a broken or foreign file
        raise _no_such_weights(weights, error) from error

    def predict(batch: Batch) -> Batch:
        with torch.inference_mode():
            found: Batch = model(batch).cpu().numpy()
        return found

    return predict, device


def _onnx_network(weights: Path, device: str) -> tuple[Callable[[Batch], Batch], str]:
    try:
        session = open_session(weights, device)
        (asked,) = session.get_inputs()
        (given,) = session.get_outputs()
        if list(asked.shape[1:]) != [_SIDE, _SIDE, 3] or given.shape[-1] != 2:
            raise ValueError(f"it maps {asked.shape} to {given.shape}")
    except Exception as error:  # onnxruntime's own exceptions have no common base
        raise _no_such_weights(weights, error) from error

    def predict(batch: Batch) -> Batch:
        found: Batch = session.run([given.name], {asked.name: batch})[0]
        return found

    return predict, device_of(session, device)


def _no_such_weights(weights: Path, error: Exception) -> WeightsError:
    detail = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    return WeightsError(
        f"these are no weights of open_nsfw: {detail}",
        where=str(weights),
        todo="fetch the file again, or name another with --weights nsfw_score_opennsfw2=PATH",
    )


SCORE = Score(
    name="nsfw_score_opennsfw2",
    columns=(
        ScoreColumn("nsfw_score_opennsfw2", "float32", "probability of not safe for work, 0 to 1"),
    ),
    inputs=(IMAGE,),
    model="Yahoo open_nsfw with Yahoo's preprocessing, through opennsfw2 or onnxruntime, in fp32",
    licence="BSD-2-Clause (weights), MIT (opennsfw2)",
    load=_load,
    weights=OPEN_NSFW,
    note="published in float16; pictures stored smaller than the original move it a little",
    extra="score",
    packages=("torch", "keras", "opennsfw2", "onnxruntime"),
    distributions=("opennsfw2", "keras", "torch", "onnxruntime"),
)
