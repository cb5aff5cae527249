"""Pillow's bicubic resize of a batch of pictures by torch, on any device, to the last bit.

As CLIP's preprocessing has it: the shorter side brought to `side` px, then the middle cropped.
Pillow resizes rows first, then columns, each to 8 bits with weights of 22 fractional bits
(libImaging/Resample.c); whole numbers add up alike in any order, on a GPU too. Only what the crop
keeps is computed. Pillow 13 resizes the columns of tall pictures first, which rounds otherwise:
`takes` says no to these.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    Array = np.ndarray[Any, Any]

_FRACTION_BITS = 22
_SUPPORT = 2.0  # of the bicubic window, in output px
_TALL = 1.5  # height to width, from which on this is Pillow's own; its order changes at 1.85
_MOST_PIXELS = (
    400_000  # of a picture that goes to a device whole: larger ones cost more to hand over
)
_ROWS = 1 << 16  # of input that are in work together: some 300 MB of sums for 224 px


class _Axis(NamedTuple):
    """Where each output px begins to read, int64 (side,), and its weights times 2^22, int32 (side,
    terms)."""

    first: Array
    weights: Array

    @property
    def stop(self) -> int:
        """Behind the last input px that is read."""
        return int(self.first[-1] + self.weights.shape[1])


def takes(image: Image.Image) -> bool:
    """Whether the picture may be given to `resized` whole."""
    width, height = image.size
    return image.mode == "RGB" and height <= _TALL * width and width * height <= _MOST_PIXELS


def resized(pictures: Sequence[Any], side: int, device: str) -> Any:
    """uint8 tensors (height, width, 3) on the CPU as one on the device, (n, side, side, 3)."""
    import torch

    found: list[Any] = []
    some: list[Any] = []
    rows = 0
    for picture in pictures:
        if some and rows + len(picture) > _ROWS:
            found.append(_together(some, side, device))
            some, rows = [], 0
        some.append(picture)
        rows += len(picture)
    return torch.cat([*found, _together(some, side, device)])


def _together(pictures: Sequence[Any], side: int, device: str) -> Any:
    import torch

    sizes = [(p.shape[1], p.shape[0]) for p in pictures]
    across, down = zip(*(_axes(width, height, side) for width, height in sizes), strict=True)
    pixels = _pixels(pictures, max(axis.weights.shape[1] for axis in across), device)
    starts = torch.tensor([0, *(w * h for w, h in sizes[:-1])]).cumsum(0)
    widths = torch.tensor([width for width, _ in sizes])
    tops = torch.tensor([int(axis.first[0]) for axis in down])
    heights = torch.tensor([min(axis.stop, h) for axis, (_, h) in zip(down, sizes, strict=True)])
    heights -= tops
    befores = heights.cumsum(0) - heights
    facts = _sent(torch.stack([starts, widths, tops, heights, befores]), device)
    starts, widths, tops, heights, befores = facts
    # Rows: each row that is read of any picture.
    numbers = torch.arange(len(pictures), device=device)
    of = torch.repeat_interleave(numbers, heights)
    row = torch.arange(len(of), device=device) - befores[of] + tops[of]
    first, weights = _on(across, device)
    at = (starts[of] + row * widths[of])[:, None] + first[of]
    narrow = _summed(pixels, at, weights, of)
    # Columns: of what the rows gave, with as many rows below as the last ones may read.
    first, weights = _on(down, device)
    narrow = torch.cat([narrow, narrow.new_zeros(weights.shape[2], side, 3)])
    at = befores[:, None] + first - tops[:, None]
    return _summed(narrow, at, weights[..., None], numbers)


def _summed(read: Any, at: Any, weights: Any, of: Any) -> Any:
    """Of each place in `at` the weighted sum of what is read there and behind, as 8 bits.

    weights: (pictures, side, terms, ...); of: the picture of each row of `at`.
    """
    import torch

    shape, half = (*at.shape, *read.shape[1:]), 1 << (_FRACTION_BITS - 1)
    sums = torch.full(shape, half, dtype=torch.int32, device=read.device)
    for term in range(weights.shape[2]):
        weight = weights[:, :, term][of][..., None]
        sums.addcmul_(read[at + term].to(torch.int32), weight)
    return sums.bitwise_right_shift_(_FRACTION_BITS).clamp_(0, 255).to(torch.uint8)


def _pixels(pictures: Sequence[Any], behind: int, device: str) -> Any:
    """All of them in one (pixels, 3), with so many behind the last."""
    import torch

    count = sum(picture.numel() for picture in pictures)
    flat = torch.empty(count + 3 * behind, dtype=torch.uint8, pin_memory=device != "cpu")
    flat[count:] = 0
    torch.cat([picture.reshape(-1) for picture in pictures], out=flat[:count])
    return flat.to(device, non_blocking=True).view(-1, 3)


def _sent(tensor: Any, device: str) -> Any:
    """On the device, without waiting for what that does just now."""
    return tensor if device == "cpu" else tensor.pin_memory().to(device, non_blocking=True)


def _on(axes: Sequence[_Axis], device: str) -> tuple[Any, Any]:
    """First px (n, side) and weights (n, side, most terms) on the device."""
    import numpy as np
    import torch

    terms = max(axis.weights.shape[1] for axis in axes)
    weights = np.zeros((len(axes), len(axes[0].first), terms), np.int32)
    for number, axis in enumerate(axes):
        weights[number, :, : axis.weights.shape[1]] = axis.weights
    first = np.stack([axis.first for axis in axes])
    return _sent(torch.from_numpy(first), device), _sent(torch.from_numpy(weights), device)


def _axes(width: int, height: int, side: int) -> tuple[_Axis, _Axis]:
    """Of the columns and the rows that torchvision's Resize(side) and CenterCrop(side) keep."""
    short, long = sorted((width, height))
    longer = int(side * long / short)
    sizes = (side, longer) if width <= height else (longer, side)
    across, down = (
        _axis(length, new, round((new - side) / 2.0), side)
        for length, new in zip((width, height), sizes, strict=True)
    )
    return across, down


@lru_cache(maxsize=4096)  # of some 10 kB
def _axis(length: int, new: int, start: int, count: int) -> _Axis:
    """Output px `start` on, of `length` px resized to `new`: operation by operation as Pillow's
    precompute_coeffs and normalize_coeffs_8bpc."""
    import numpy as np

    if length == new:
        return _Axis(np.arange(start, start + count), np.full((count, 1), 1 << 22, np.int32))
    scale = length / new
    unit = max(scale, 1.0)  # input px of the filter's unit, also where the picture grows
    support = _SUPPORT * unit
    centre = (np.arange(start, start + count) + 0.5) * scale
    first = np.maximum(np.trunc(centre - support + 0.5), 0).astype(np.int64)
    stop = np.minimum(np.trunc(centre + support + 0.5), length).astype(np.int64)
    terms = int((stop - first).max())
    reach = np.arange(terms)
    values = _bicubic(((reach + first[:, None]) - centre[:, None] + 0.5) * (1.0 / unit))
    values[reach >= (stop - first)[:, None]] = 0.0
    total = np.add.accumulate(values, axis=1)[:, -1:]
    scaled = values / np.where(total == 0.0, 1.0, total) * (1 << _FRACTION_BITS)
    return _Axis(first, np.trunc(scaled + np.where(values < 0, -0.5, 0.5)).astype(np.int32))


def _bicubic(x: Array) -> Array:
    import numpy as np

    a = -0.5
    x = np.abs(x)
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))
