"""Whether a scorer without its model prepares what the whole one does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np

from coyo_tools.pieces.scores.base import Sample, Setup


def assert_prepares_alike(
    load: Callable[[Setup], Any], setup: Setup, samples: Sequence[Sample], **rest: Any
) -> None:
    """And that it has no model: in a process that only prepares, that is 600 MB for nothing."""
    whole, light = load(setup), load(replace(setup, prepares_only=True))
    for sample in samples:
        assert alike(light.prepare(sample, **rest), whole.prepare(sample, **rest))
    held = [
        name for name in ("_model", "_network", "_detector", "_predict") if hasattr(light, name)
    ]
    assert held
    assert all(getattr(light, name) is None for name in held)
    assert all(getattr(whole, name) is not None for name in held)


def alike(a: Any, b: Any) -> bool:
    """Bit for bit, of tensors, arrays and what holds them."""
    if type(a) is not type(b):
        return False
    if is_dataclass(a):
        return all(alike(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(map(alike, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(alike(a[name], b[name]) for name in a)
    if hasattr(a, "numpy"):
        a, b = a.numpy(), b.numpy()
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    return bool(a == b)
