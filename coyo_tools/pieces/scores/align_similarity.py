"""align_similarity: how well picture and caption agree, by ALIGN as it was trained on COYO-700M.

Cosine of its image and text embeddings in float32, not scaled. The picture's embedding is the
pooled output of the EfficientNet, the caption's the projection of BERT's first token, as
transformers' `AlignModel` gives both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from coyo_tools.pieces.scores import hub_models
from coyo_tools.pieces.scores.base import (
    IMAGE,
    TEXT,
    Encoder,
    Head,
    Sample,
    Score,
    ScoreColumn,
    Setup,
)
from coyo_tools.pieces.scores.clip_similarity import cosines
from coyo_tools.pieces.scores.families import Choice, Family, column_name
from coyo_tools.pieces.scores.precision import arithmetic

MODEL = "kakaobrain/align-base"
REVISION = "e96a37facc7b1f59090ece82293226b817afd6ba"  # that MTEB pins as well
TOKENS = 64  # to which its processor pads captions
_STEM = "align_similarity"
_CITATION = "Jia et al. 2021, ALIGN, arXiv 2102.05918; trained on COYO-700M by Kakao Brain"


class AlignEncoder:
    """An ALIGN with its own image processor and tokenizer."""

    def __init__(self, setup: Setup) -> None:
        assert setup.weights is not None
        self._device, self._precision = setup.device, setup.precision
        self._model: Any = None
        if not setup.prepares_only:
            self._model = hub_models.load_model("AlignModel", setup.weights).to(setup.device)
        self._processor = hub_models.load_image_processor(setup.weights)
        self._tokenize = hub_models.CaptionTokenizer(setup.weights, TOKENS)

    def prepare(self, sample: Sample, *, with_text: bool) -> tuple[Any, Any]:
        """The picture as a float32 tensor (3, side, side), the caption as tensors by name."""
        tokens = None
        if with_text and sample.caption is not None:
            tokens = self._tokenize(sample.caption)
        return hub_models.prepared(self._processor, sample.image), tokens

    def embed_images(self, images: Sequence[Any]) -> Any:
        """Float32 (n, d), not normalised."""
        import torch

        with torch.inference_mode(), arithmetic(self._device, self._precision):
            batch = torch.stack(list(images)).to(self._device)
            return _pooled(self._model.get_image_features(pixel_values=batch))

    def embed_texts(self, texts: Sequence[Any]) -> Any:
        """Float32 (n, d), not normalised."""
        import torch

        with torch.inference_mode(), arithmetic(self._device, self._precision):
            batch = hub_models.stacked(texts, self._device)
            return _pooled(self._model.get_text_features(**batch))


def _pooled(found: Any) -> Any:
    """The embedding, which transformers gave bare before its version 5."""
    return getattr(found, "pooler_output", found).float()


def _load_head(_: Setup) -> Head:
    return cosines


@cache
def _encoder(name: str, model: str) -> Encoder:
    files = hub_models.weights(name, model, citation=_CITATION, tokenizer=True)
    return Encoder(files, AlignEncoder)


SCORE = Score(
    name=_STEM,
    columns=(ScoreColumn(_STEM, "float32", "cosine of picture and caption, ALIGN"),),
    inputs=(IMAGE, TEXT),
    model="ALIGN (EfficientNet-B7 and BERT) trained on COYO-700M, through transformers; "
    f"text cut at {TOKENS} tokens",
    licence=f"as the card of {MODEL} says",
    load=_load_head,
    encoder=_encoder(_STEM, f"{MODEL}@{REVISION}"),
    note="not published by COYO; pictures stored smaller than 346 px are made larger",
    extra="score",
    packages=("torch", "transformers"),
    distributions=("transformers", "tokenizers", "torch", "torchvision"),
)


def declare(choice: Choice) -> Score:
    """The score of any ALIGN of the hub."""
    name = column_name(_STEM, choice)
    meaning = f"cosine of picture and caption, {choice.model}"
    return replace(
        SCORE,
        name=name,
        columns=(ScoreColumn(name, "float32", meaning),),
        model=f"{choice.model} (ALIGN) through transformers; text cut at {TOKENS} tokens",
        licence=f"as the card of {choice.model} says",
        encoder=_encoder(name, choice.model),
    )


FAMILY = Family(
    columns=(_STEM,),
    like=SCORE,
    model="any ALIGN of the hub: OWNER/NAME[@REVISION]",
    declare=declare,
    suggestions=(),  # none other is known
)
