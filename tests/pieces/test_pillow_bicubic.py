"""Pictures resized by torch as Pillow and torchvision resize and crop them, to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from coyo_tools.pieces import pillow_bicubic
from coyo_tools.pieces.decoding import decode
from coyo_tools.pieces.pillow_bicubic import resized, takes
from tests.tars import photographs

torch = pytest.importorskip("torch", reason="needs the score extra")
transforms = pytest.importorskip("torchvision.transforms", reason="needs the score extra")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own


def by_pillow(image: Image.Image, side: int) -> Any:
    bicubic = transforms.InterpolationMode.BICUBIC
    steps = [transforms.Resize(side, interpolation=bicubic), transforms.CenterCrop(side)]
    return np.asarray(transforms.Compose(steps)(image))


def by_torch(images: list[Image.Image], side: int, device: str = "cpu") -> Any:
    pictures = [torch.from_numpy(np.array(image)) for image in images]
    return resized(pictures, side, device).cpu().numpy()


def noise(width: int, height: int, kind: int = 0) -> Image.Image:
    """kind 0: any values, 1: black and white alone, which overshoots everywhere, 2: flat."""
    rng = np.random.default_rng(width * 7919 + height)
    values = rng.integers(0, [256, 2, 1][kind], (height, width, 3)) * [1, 255, 1][kind]
    return Image.fromarray(values.astype(np.uint8))


SIZES = st.tuples(st.integers(1, 630), st.integers(1, 630)).filter(lambda s: s[1] <= 1.5 * s[0])


@settings(max_examples=60, deadline=None)
@given(st.lists(SIZES, min_size=1, max_size=5), st.integers(0, 2), st.sampled_from([224, 64, 37]))
@example([(224, 224), (448, 224), (224, 336), (1, 1), (2, 3), (640, 3)], 1, 224)
def test_any_size(sizes: list[tuple[int, int]], kind: int, side: int) -> None:
    images = [noise(*size, kind) for size in sizes]
    for image, found in zip(images, by_torch(images, side), strict=True):
        assert takes(image)
        assert np.array_equal(found, by_pillow(image, side))


def test_photographs_in_one_batch_and_in_several(monkeypatch: pytest.MonkeyPatch) -> None:
    images: list[Any] = [decode(data) for data in photographs(24)]
    images = [image.convert("RGB") for image in images]
    images = [image for image in images if takes(image)]
    assert len({image.size for image in images}) > 5
    expected = [by_pillow(image, 224) for image in images]
    assert np.array_equal(by_torch(images, 224), expected)
    monkeypatch.setattr(pillow_bicubic, "_ROWS", 500)
    assert np.array_equal(by_torch(images, 224), expected)


@pytest.mark.parametrize(
    ("image", "taken"),
    [
        (Image.new("RGB", (640, 480)), True),
        (Image.new("RGB", (200, 300)), True),
        (Image.new("RGB", (200, 301)), False),  # tall: an order of its own in Pillow 13
        (Image.new("RGB", (1000, 500)), False),
        (Image.new("L", (100, 100)), False),
        (Image.new("RGBA", (100, 100)), False),
        (Image.new("P", (100, 100)), False),
    ],
)
def test_what_is_left_to_pillow(image: Image.Image, taken: bool) -> None:
    assert takes(image) == taken


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu() -> None:
    sizes = [(640, 480), (224, 224), (300, 450), (3, 4), (700, 225), (500, 500)]
    images = [noise(*size, kind) for size in sizes for kind in (0, 1)]
    expected = [by_pillow(image, 224) for image in images]
    assert np.array_equal(by_torch(images, 224, "cuda:0"), expected)
