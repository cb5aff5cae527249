"""Half precision for models that are kept in float32."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

_TYPES = {"fp16": "float16", "bf16": "bfloat16"}


def arithmetic(device: str, precision: str) -> AbstractContextManager[Any]:
    """In it torch multiplies in this precision: `torch.autocast`, and nothing where it is fp32.

    Softmax and normalisations stay in float32. What a model gives may be of the lower type: take
    `.float()` of it.
    """
    if precision == "fp32":
        return nullcontext()
    import torch

    return torch.autocast(device.partition(":")[0], getattr(torch, _TYPES[precision]))
