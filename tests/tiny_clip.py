"""A CLIP of open_clip's that is small enough to make and run in a test."""

from __future__ import annotations

import json
from pathlib import Path

NAME = "tiny-clip-for-tests"
CONFIG = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {
        "context_length": 77,
        "vocab_size": 49408,
        "width": 32,
        "heads": 2,
        "layers": 2,
    },
}


def make(folder: Path) -> Path:
    """Tell open_clip of the architecture, and write random weights of it."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    (folder / f"{NAME}.json").write_text(json.dumps(CONFIG))
    open_clip.add_model_config(folder / f"{NAME}.json")
    torch.manual_seed(5)
    model = open_clip.CLIP(**open_clip.get_model_config(NAME), quick_gelu=True)
    path = folder / f"{NAME}.safetensors"
    save_file({name: t.contiguous() for name, t in model.state_dict().items()}, path)
    return path
