"""clip_similarity_vitb32 and clip_similarity_vitl14: how well picture and caption agree.

Cosine of the image and text embeddings of OpenAI's CLIP, computed in float32 and not scaled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from coyo_tools.pieces.scores import clip
from coyo_tools.pieces.scores.base import IMAGE, TEXT, Encoder, Head, Score, ScoreColumn, Setup


def cosines(images: Any, texts: Any) -> Sequence[Any]:
    """Cosines of the rows, -1 to 1, as float32."""
    import torch

    return (torch.nn.functional.cosine_similarity(images, texts).cpu().numpy(),)


def _load(_: Setup) -> Head:
    return cosines


def _declare(encoder: Encoder, architecture: str) -> Score:
    column = encoder.weights.name
    return Score(
        name=column,
        columns=(
            ScoreColumn(column, "float32", f"cosine of picture and caption, CLIP {architecture}"),
        ),
        inputs=(IMAGE, TEXT),
        model=f"OpenAI CLIP {architecture} (QuickGELU) through open_clip; text cut at 77 tokens",
        licence="MIT",
        load=_load,
        encoder=encoder,
        note="published in float16; pictures stored smaller than the original move it a little",
        extra="score",
        packages=("torch", "open_clip"),
        distributions=("open-clip-torch", "torch", "torchvision"),
    )


VIT_B_32 = _declare(clip.VIT_B_32, "ViT-B-32")
VIT_L_14 = _declare(clip.VIT_L_14, "ViT-L-14")
