"""clip_similarity_vitb32 and clip_similarity_vitl14: how well picture and caption agree.

Cosine of the image and text embeddings of OpenAI's CLIP, computed in float32 and not scaled.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coyo_tools.pieces.scores.base import (
    IMAGE,
    TEXT,
    Sample,
    Score,
    ScoreColumn,
    Setup,
    Weights,
)
from coyo_tools.pieces.scores.weights import SAFETENSORS, TORCH, hub_file, load_tensors
from coyo_tools.words.errors import WeightsError
from coyo_tools.words.failures import Failure

_POSITIONS = "visual.positional_embedding"
_MAX_RESIZED_PIXELS = 100_000_000  # a picture of 1 x 10,000 px is resized to 224 x 2,240,000


class ClipScorer:
    """One CLIP model with its own preprocessing and tokenizer, through open_clip."""

    def __init__(self, architecture: str, setup: Setup) -> None:
        import open_clip

        assert setup.weights is not None
        self._device = setup.device
        self._model = build_model(architecture, setup.weights, setup.precision).to(setup.device)
        self._dtype = open_clip.get_input_dtype(setup.precision)
        self._side = self._model.visual.image_size[0]
        self._preprocess = open_clip.image_transform(self._side, is_train=False)
        self._tokenize = open_clip.get_tokenizer(architecture)

    def prepare(self, sample: Sample) -> tuple[Any, Any] | Failure | None:
        """The picture as a float32 tensor (3, side, side), the caption as 77 token numbers."""
        assert sample.image is not None
        if sample.caption is None:
            return None
        width, height = sample.image.size
        if self._side**2 * max(width, height) > _MAX_RESIZED_PIXELS * min(width, height):
            return Failure("too_many_pixels", f"{width} x {height} px is too long to resize")
        return self._preprocess(sample.image), self._tokenize([sample.caption])[0]

    def score(self, prepared: Sequence[tuple[Any, Any]]) -> Sequence[Any]:
        """Cosines, -1 to 1, as float32."""
        import torch

        images = torch.stack([image for image, _ in prepared]).to(self._device, self._dtype)
        tokens = torch.stack([text for _, text in prepared]).to(self._device)
        with torch.inference_mode():
            of_images = self._model.encode_image(images).float()
            of_texts = self._model.encode_text(tokens).float()
            cosines = torch.nn.functional.cosine_similarity(of_images, of_texts)
        return (cosines.cpu().numpy(),)


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


def _declare(column: str, architecture: str, repository: str) -> Score:
    fetch, at_hand = hub_file(repository, "open_clip_model.safetensors")

    def load(setup: Setup) -> ClipScorer:
        return ClipScorer(architecture, setup)

    return Score(
        name=column,
        columns=(
            ScoreColumn(column, "float32", f"cosine of picture and caption, CLIP {architecture}"),
        ),
        inputs=(IMAGE, TEXT),
        model=f"OpenAI CLIP {architecture} (QuickGELU) through open_clip; text cut at 77 tokens",
        licence="MIT",
        load=load,
        weights=Weights(f"hub {repository}", (SAFETENSORS, TORCH), fetch, at_hand),
        note="published in float16; pictures stored smaller than the original move it a little",
        extra="score",
        packages=("torch", "open_clip"),
        distributions=("open-clip-torch", "torch", "torchvision"),
    )


VIT_B_32 = _declare("clip_similarity_vitb32", "ViT-B-32", "timm/vit_base_patch32_clip_224.openai")
VIT_L_14 = _declare("clip_similarity_vitl14", "ViT-L-14", "timm/vit_large_patch14_clip_224.openai")
