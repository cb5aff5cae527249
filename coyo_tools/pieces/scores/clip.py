"""CLIP through open_clip, as an encoder of pictures and captions that scores share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coyo_tools.pieces.scores.base import Encoder, Sample, Setup, Weights
from coyo_tools.pieces.scores.weights import load_tensors
from coyo_tools.pieces.scores.weights_files import CLIP_VIT_B_32, CLIP_VIT_L_14
from coyo_tools.words.errors import WeightsError
from coyo_tools.words.failures import Failure

_POSITIONS = "visual.positional_embedding"
_MAX_RESIZED_PIXELS = 100_000_000  # a picture of 1 x 10,000 px is resized to 224 x 2,240,000


class ClipEncoder:
    """One CLIP model with its own preprocessing and tokenizer."""

    def __init__(self, architecture: str, setup: Setup) -> None:
        import open_clip

        assert setup.weights is not None
        self._device = setup.device
        self._model = build_model(architecture, setup.weights, setup.precision).to(setup.device)
        self._dtype = open_clip.get_input_dtype(setup.precision)
        self._side = self._model.visual.image_size[0]
        self._preprocess = open_clip.image_transform(self._side, is_train=False)
        self._tokenize = open_clip.get_tokenizer(architecture)

    def prepare(self, sample: Sample, *, with_text: bool) -> tuple[Any, Any] | Failure:
        """The picture as a float32 tensor (3, side, side), the caption as 77 token numbers."""
        assert sample.image is not None
        width, height = sample.image.size
        if self._side**2 * max(width, height) > _MAX_RESIZED_PIXELS * min(width, height):
            return Failure("too_many_pixels", f"{width} x {height} px is too long to resize")
        wanted = with_text and sample.caption is not None
        tokens = self._tokenize([sample.caption])[0] if wanted else None
        return self._preprocess(sample.image), tokens

    def embed_images(self, images: Sequence[Any]) -> Any:
        """Float32 (n, d), not normalised."""
        import torch

        with torch.inference_mode():
            batch = torch.stack(list(images)).to(self._device, self._dtype)
            return self._model.encode_image(batch).float()

    def embed_texts(self, texts: Sequence[Any]) -> Any:
        """Float32 (n, d), not normalised."""
        import torch

        with torch.inference_mode():
            return self._model.encode_text(torch.stack(list(texts)).to(self._device)).float()


def build_model(architecture: str, weights: Path, precision: str) -> Any:
    """The open_clip model with these weights, in evaluation mode on the CPU.

    QuickGELU always: OpenAI's weights were trained with it, and a file does not say so.
    """
    import open_clip

    tensors = load_tensors(weights)
    dtype = open_clip.get_cast_dtype(precision)
    settings = {**open_clip.get_model_config(architecture), "quick_gelu": True}
    model = open_clip.CLIP(**settings, cast_dtype=dtype)
    if dtype is not None:
        open_clip.convert_weights_to_lp(model, dtype=dtype)
    _check_shapes(architecture, model.state_dict(), tensors, weights)
    model.load_state_dict(tensors)
    return model.eval()


def _check_shapes(
    architecture: str, wanted: dict[str, Any], found: dict[str, Any], weights: Path
) -> None:
    """Raise WeightsError unless every tensor is there, of its shape, and no other."""
    wrong = [n for n in {**wanted, **found} if _shape(wanted, n) != _shape(found, n)]
    if wrong:
        first = _POSITIONS if _POSITIONS in wrong else wrong[0]
        raise WeightsError(
            f"these are no weights of CLIP {architecture}: {first} is "
            f"{_shape(found, first)}, expected {_shape(wanted, first)}",
            where=str(weights),
            todo="name the right file with --weights COLUMN=PATH",
        )


def _shape(tensors: dict[str, Any], name: str) -> str:
    return " x ".join(map(str, tensors[name].shape)) or "a scalar" if name in tensors else "absent"


def _declare(weights: Weights, architecture: str) -> Encoder:
    def load(setup: Setup) -> ClipEncoder:
        return ClipEncoder(architecture, setup)

    return Encoder(weights, load)


VIT_B_32 = _declare(CLIP_VIT_B_32, "ViT-B-32")
VIT_L_14 = _declare(CLIP_VIT_L_14, "ViT-L-14")
