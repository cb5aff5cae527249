"""clip_similarity_vitb32, clip_similarity_vitl14: how well picture and caption agree.

Cosine of the image and text embeddings of OpenAI's CLIP, computed in float32 and not scaled; and
of any other model of open_clip, under a name of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from coyo_tools.pieces.scores import clip
from coyo_tools.pieces.scores.base import IMAGE, TEXT, Encoder, Head, Score, ScoreColumn, Setup
from coyo_tools.pieces.scores.families import Choice, Family, column_name

_STEM = "clip_similarity"
_PACKAGES = "torch", "open_clip"
_DISTRIBUTIONS = "open-clip-torch", "torch", "torchvision"


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
        packages=_PACKAGES,
        distributions=_DISTRIBUTIONS,
    )


VIT_B_32 = _declare(clip.VIT_B_32, "ViT-B-32")
VIT_L_14 = _declare(clip.VIT_L_14, "ViT-L-14")

_ANY = Score(
    name=_STEM,
    columns=(ScoreColumn(_STEM, "float32", "cosine of picture and caption, a model of open_clip"),),
    inputs=(IMAGE, TEXT),
    model="any model and weights that open_clip lists, with their own preprocessing, tokenizer "
    "and activation",
    licence="as the weights' publisher says",
    load=_load,
    note="not published by COYO; cosines of different models are different scales",
    extra="score",
    packages=_PACKAGES,
    distributions=_DISTRIBUTIONS,
)


def declare(choice: Choice) -> Score:
    """The score of any model of open_clip. Raises SettingsError."""
    from coyo_tools.pieces.scores.clip_models import encoder_of

    name, title = column_name(_STEM, choice), f"{choice.model} {choice.pretrained}"
    found = encoder_of(choice, name)
    meaning = f"cosine of picture and caption, {title}"
    return replace(
        _ANY,
        name=name,
        columns=(ScoreColumn(name, "float32", meaning),),
        model=f"{title} through open_clip",
        encoder=found,
        distributions=(*_DISTRIBUTIONS, "timm", "transformers"),
    )


def _named(column: str) -> Choice | None:
    from coyo_tools.pieces.scores.clip_models import named

    return named(column.removeprefix(f"{_STEM}_"))


FAMILY = Family(
    columns=(_STEM,),
    like=_ANY,
    model=_ANY.model,
    declare=declare,
    named=_named,
    needs_model=True,
    takes_pretrained=True,
    suggestions=(
        Choice("ViT-B-16", "datacomp_xl_s13b_b90k"),
        Choice("ViT-L-14", "datacomp_xl_s13b_b90k"),
        Choice("ViT-B-16", "dfn2b"),
        Choice("ViT-L-14", "dfn2b"),
        Choice("ViT-H-14", "dfn5b"),
        Choice("ViT-B-32", "laion2b_s34b_b79k"),
        Choice("ViT-B-16-SigLIP", "webli"),
        Choice("ViT-B-16-SigLIP2", "webli"),
        Choice("convnext_base_w", "laion2b_s13b_b82k_augreg"),
    ),
)
