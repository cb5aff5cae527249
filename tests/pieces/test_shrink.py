"""Shrinking is Pillow's resize, rows first, bit for bit, for any size and content."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from coyo_tools.pieces import shrink as module
from coyo_tools.pieces.shrink import shrink


def pillows(pixels: np.ndarray) -> np.ndarray:
    """In two steps, so that every Pillow takes the rows first."""
    narrow = Image.fromarray(rows_of_pillow(pixels))
    return np.asarray(narrow.resize((32, 32), Image.Resampling.LANCZOS))


def rows_of_pillow(pixels: np.ndarray) -> np.ndarray:
    narrow = Image.fromarray(pixels).resize((32, len(pixels)), Image.Resampling.LANCZOS)
    return np.asarray(narrow)


def content(kind: str, width: int, height: int, seed: int) -> np.ndarray:
    """Noise, hard edges, a ramp, blocks, or nearly flat: what rounding edges are made of."""
    noise = np.random.default_rng(seed)
    pixels = noise.integers(0, 256, (height, width), np.uint8)
    match kind:
        case "edges":
            return np.where(pixels > 127, 255, 0).astype(np.uint8)
        case "ramp":
            return np.broadcast_to(np.linspace(0, 255, width), (height, width)).astype(np.uint8)
        case "blocks":
            return np.kron(pixels[: height // 8 + 1, : width // 8 + 1], np.ones((8, 8), np.uint8))[
                :height, :width
            ]
        case "halves":  # many sums on a rounding edge
            return (np.indices((height, width)).sum(axis=0) % 2 + seed % 255).astype(np.uint8)
        case "flat":
            return np.full((height, width), seed % 256, np.uint8)
        case "nearly flat":
            return (seed % 255 + (pixels > 250)).astype(np.uint8)
    return pixels


KINDS = st.sampled_from(["noise", "edges", "ramp", "blocks", "halves", "flat", "nearly flat"])


@given(KINDS, st.integers(1, 900), st.integers(1, 900), st.integers(0, 2**31))
@settings(max_examples=400, deadline=None)
def test_any_picture(kind: str, width: int, height: int, seed: int) -> None:
    pixels = content(kind, width, height, seed)
    assert np.array_equal(shrink(pixels), pillows(pixels))


@given(KINDS, st.integers(1, 40), st.integers(1, 3000), st.booleans(), st.integers(0, 2**31))
@settings(max_examples=200, deadline=None)
def test_any_strip(kind: str, narrow: int, long: int, lying: bool, seed: int) -> None:
    """Tall pictures above all: newer Pillows resize their columns first."""
    pixels = content(kind, *((long, narrow) if lying else (narrow, long)), seed)
    assert np.array_equal(shrink(pixels), pillows(pixels))


@pytest.mark.parametrize("size", [(9000, 30), (9000, 7), (20, 20_000), (20_000, 20), (700, 8000)])
def test_passes_in_float32_of_rows_and_of_columns(size: tuple[int, int]) -> None:
    pixels = content("edges", *size, 0)
    assert np.array_equal(shrink(pixels), pillows(pixels))


@given(KINDS, st.integers(1, 2500), st.integers(1, 60), st.integers(0, 2**31), st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_row(kind: str, width: int, height: int, seed: int, in_float32: bool) -> None:
    """Before the second pass could round a difference away."""
    pixels = content(kind, width, height, seed)
    with mock.patch.object(module, "_FLOAT32_FROM", 0 if in_float32 else pixels.size + 1):
        assert np.array_equal(module._rows(pixels), rows_of_pillow(pixels))


@given(st.integers(1, 4000))
@settings(max_examples=200, deadline=None)
def test_weights_are_pillows_own(width: int) -> None:
    """A row with a single white pixel reads the weights off the result."""
    for at in (0, width // 3, width - 1):
        pixels = np.zeros((1, width), np.uint8)
        pixels[0, at] = 255
        assert np.array_equal(module._rows(pixels), rows_of_pillow(pixels))


def as_pillow(width: int, terms: int, starts: list[int]) -> np.ndarray:
    groups = [start for start in starts for _ in range(module._GROUP)]
    return np.array([module._weights_of(j, width, start, terms) for j, start in enumerate(groups)])


@given(st.integers(1, 6000))
@example(96)  # some input columns lie at the centre of an output column
@example(32 * 151)
@settings(max_examples=300, deadline=None)
def test_half_of_the_weights_and_sines_of_sums_give_pillows(width: int) -> None:
    starts, weights = module._weights(width)
    assert np.array_equal(weights, as_pillow(width, weights.shape[1], starts))


@given(st.integers(32, 60_000))
@example(32)
@example(65_504)
@settings(max_examples=100, deadline=None)
def test_the_weights_err_by_less_than_what_counts_as_doubt(width: int) -> None:
    starts, found = module._left_half(width)
    x = np.repeat(starts, module._GROUP)[:, None] + np.arange(found.shape[1])
    m = 64 * x + 32 - np.arange(1, 32, 2)[:, None] * width
    t = np.maximum(np.abs(m), 1e-9).astype(np.longdouble) / (2 * width)
    pi = 4 * np.arctan(np.longdouble(1))
    expected = np.sin(pi * t) * np.sin(pi * t / 3) / t**2 * (np.abs(m) < 6 * width)
    expected *= 2**22 / expected.sum(axis=1, keepdims=True)
    assert np.abs(found - expected).max() < module._DOUBT / 4


@given(st.integers(1, 20_000))
@example(4)
@settings(max_examples=100, deadline=None)
def test_the_bound_of_the_error_knows_the_weights(width: int) -> None:
    weights = module._weights(width)[1] / 2**22
    assert np.abs(weights).sum(axis=1).max() < module._ABSOLUTE


def test_weights_in_doubt_are_computed_as_pillow_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_DOUBT", 1.0)
    monkeypatch.setattr(module, "_weights_of", lambda column, *_: column)
    assert module._weights(200)[1][:, 0].tolist() == list(range(32))


def test_values_within_the_error_of_a_rounding_edge_are_computed_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without the second look some pixel would differ: the look is what makes it exact."""
    monkeypatch.setattr(module, "_ABSOLUTE", 0.0)
    wrong = 0
    for seed in range(40):
        pixels = content("edges", 1999, 300, seed)
        wrong += int((module._rows(pixels) != rows_of_pillow(pixels)).sum())
    assert wrong > 0


def test_products_are_cut_to_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PRODUCT", 1 << 12)
    pixels = content("edges", 1999, 300, 0)
    assert np.array_equal(module._rows(pixels), rows_of_pillow(pixels))
