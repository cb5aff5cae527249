"""Folders as the hub has them for ALIGN and ViT: random weights, real kinds of configuration.

What the real ones are configured with: ALIGN's as transformers' own conversion of
kakaobrain/align-base sets it (289 px out of 346, pooled over 640, no normalisation beyond -1 to 1,
64 tokens); ViT's are the sizes of ViT-L/16 at 384 px with transformers' usual image processor.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.pieces.scores.tokenizers_made import make_tokenizer

CAPTIONS = ["a photograph of a cat", "Two birds!", "words " * 200, "", "Ünïcödé 🙂", "a cat"]
SMALL_TEXT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
SMALL_VIT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
LARGE_VIT = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16}


def make_align(folder: Path, *, full_size: bool = False) -> Path:
    """An ALIGN with random weights."""
    import torch
    from PIL import Image
    from transformers import (
        AlignConfig,
        AlignModel,
        AlignTextConfig,
        AlignVisionConfig,
        EfficientNetImageProcessor,
    )

    vision: dict[str, Any] = {"image_size": 289, "hidden_dim": 640}
    text: dict[str, Any] = {}
    if not full_size:
        vision |= {"width_coefficient": 0.2, "depth_coefficient": 0.4}
        text = SMALL_TEXT | {"intermediate_size": 64, "vocab_size": 300}
    config = AlignConfig(
        text_config=AlignTextConfig(**text).to_dict(),
        vision_config=AlignVisionConfig(**vision).to_dict(),
        projection_dim=640 if full_size else 64,
    )
    torch.manual_seed(11)
    _save(AlignModel(config).eval(), folder)
    EfficientNetImageProcessor(
        do_center_crop=True,
        rescale_factor=1 / 127.5,
        rescale_offset=True,
        do_normalize=False,
        include_top=False,
        resample=Image.Resampling.BILINEAR,
    ).save_pretrained(folder)
    return make_tokenizer(folder, CAPTIONS)


def make_vit(folder: Path, *, full_size: bool = False) -> Path:
    """A ViT with 1000 labels and random weights."""
    import torch
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    sizes: dict[str, Any] = SMALL_VIT | {"intermediate_size": 64}
    if full_size:
        sizes = LARGE_VIT | {"intermediate_size": 4096}
    names = {number: f"label {number}, as people call it" for number in range(1000)}
    torch.manual_seed(12)
    _save(ViTForImageClassification(ViTConfig(**sizes, image_size=384, id2label=names)), folder)
    ViTImageProcessor(size={"height": 384, "width": 384}).save_pretrained(folder)
    return folder


def _save(model: Any, folder: Path) -> None:
    """With weights through which pictures are told apart: those a model starts with hardly do."""
    import torch
    from transformers.utils import logging

    for name, parameter in model.named_parameters():
        if name.endswith("weight") and parameter.ndim > 1:
            torch.nn.init.kaiming_normal_(parameter)
    logging.disable_progress_bar()
    model.save_pretrained(folder)
    logging.enable_progress_bar()


def as_torch_file(folder: Path) -> None:
    """The weights as pytorch_model.bin, as repositories from before safetensors have them."""
    import torch
    from safetensors.torch import load_file

    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def set_config(folder: Path, **changes: Any) -> None:
    """Change config.json."""
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(config))
