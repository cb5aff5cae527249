"""Small models in open_clip's registry: of the kinds of real ones, with random weights."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coyo_tools.pieces.scores import clip_models
from coyo_tools.pieces.scores.base import weights_of
from coyo_tools.pieces.scores.clip_similarity import declare
from coyo_tools.pieces.scores.families import Choice, slug
from tests.pieces.scores.tokenizers_made import make_tokenizer

CAPTIONS = ["a photograph of a cat", "Two birds!", "words " * 200, "", "Ünïcödé 🙂", "a cat"]
SMALL_VIT = {"layers": 2, "width": 64, "head_width": 32}
SMALL_TEXT = {"layers": 2, "width": 64, "heads": 2}


@dataclass(frozen=True)
class Kind:
    """A real model and its weights, and what makes it small."""

    model: str
    pretrained: str
    vision: dict[str, Any]
    text: dict[str, Any]


KINDS = (
    Kind("ViT-B-16", "datacomp_xl_s13b_b90k", SMALL_VIT, SMALL_TEXT),
    Kind("ViT-B-16", "dfn2b", SMALL_VIT, SMALL_TEXT),
    Kind("ViT-H-14-378", "dfn5b", {**SMALL_VIT, "image_size": 70}, SMALL_TEXT),
    Kind("ViT-B-16-SigLIP", "webli", {"timm_model_name": "vit_tiny_patch16_224"}, SMALL_TEXT),
    Kind("convnext_base_w", "laion2b_s13b_b82k", {"timm_model_name": "convnext_atto"}, SMALL_TEXT),
    Kind("coca_ViT-B-32", "laion2b_s13b_b90k", SMALL_VIT, SMALL_TEXT),
    Kind("ViT-H-14-CLIPA", "datacomp1b", {**SMALL_VIT, "image_size": 70}, SMALL_TEXT),
)


@dataclass(frozen=True)
class Made:
    """A small model in open_clip's registry, with its weights and tokenizer in files."""

    choice: Choice
    weights: Path
    tokenizer: Path | None
    quick_gelu: bool

    @property
    def files(self) -> dict[str, Path]:
        declared = weights_of([declare(self.choice)])
        return {
            name: self.tokenizer
            if name.startswith("tokenizer_") and self.tokenizer
            else self.weights
            for name in declared
        }


@contextmanager
def made_small(kind: Kind, folder: Path) -> Iterator[Made]:
    """The model is known to open_clip inside the block. folder: for its files."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    name = f"small-{slug(kind.model, kind.pretrained)}"
    config = copy.deepcopy(open_clip.get_model_config(kind.model))
    config["vision_cfg"] |= kind.vision
    config["text_cfg"] |= kind.text
    config["embed_dim"] = 64
    if kind.vision.get("timm_model_name", "").startswith("vit"):
        config["embed_dim"] = 192  # SigLIP projects no picture: its width is the embedding's
    if "multimodal_cfg" in config:
        config["multimodal_cfg"] |= {"width": 64, "layers": 1, "heads": 2}
    tokenizer = None
    if "hf_tokenizer_name" in config["text_cfg"]:
        tokenizer = make_tokenizer(folder / "tokenizer", CAPTIONS)
    (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder / f"{name}.json")
    said = copy.deepcopy(open_clip.get_pretrained_cfg(kind.model, kind.pretrained))
    assert said
    registry = open_clip.pretrained._PRETRAINED
    registry[name] = {kind.pretrained: said}
    torch.manual_seed(5)
    quick_gelu = bool(said.get("quick_gelu"))
    model = open_clip.create_model(name, load_weights=False, force_quick_gelu=quick_gelu)
    weights = folder / "open_clip_model.safetensors"
    save_file({n: t.contiguous().clone() for n, t in model.state_dict().items()}, weights)
    yield Made(Choice(name, kind.pretrained), weights, tokenizer, quick_gelu)
    del registry[name]
    clip_models.encoder_of.cache_clear()
