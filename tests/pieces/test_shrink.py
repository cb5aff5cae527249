"""Shrinking is Pillow's resize, rows first, bit for bit, for any size and content."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
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


@given(KINDS, st.integers(1, 2500), st.integers(1, 60), st.integers(0, 2**31))
@settings(max_examples=300, deadline=None)
def test_any_row(kind: str, width: int, height: int, seed: int) -> None:
    """Before the second pass could round a difference away."""
    pixels = content(kind, width, height, seed)
    assert np.array_equal(module._rows(pixels), rows_of_pillow(pixels))


@given(st.integers(1, 4000))
@settings(max_examples=200, deadline=None)
def test_weights_are_pillows_own(width: int) -> None:
    """A row with a single white pixel reads the weights off the result."""
    for at in (0, width // 3, width - 1):
        pixels = np.zeros((1, width), np.uint8)
        pixels[0, at] = 255
        assert np.array_equal(module._rows(pixels), rows_of_pillow(pixels))


def dense(weights: list[tuple[int, np.ndarray]], width: int) -> np.ndarray:
    found = np.zeros((32, width))
    for row, (start, column) in zip(found, weights, strict=True):
        row[start : start + len(column)] = column
    return found


@given(st.integers(1, 6000))
@settings(max_examples=300, deadline=None)
def test_half_of_the_weights_and_numpys_sine_give_pillows(width: int) -> None:
    found = dense(module._weights(width), width)
    assert np.array_equal(found, dense(module._weights_one_by_one(width), width))


@given(st.integers(module._FLOAT32_FROM, 20_000))
@settings(max_examples=100, deadline=None)
def test_the_bound_of_the_error_knows_the_weights(width: int) -> None:
    assert max(np.abs(column).sum() for _, column in module._weights(width)) < 1.37


def test_weights_in_doubt_are_computed_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_DOUBT", 1.0)
    monkeypatch.setattr(module, "_weights_one_by_one", lambda width: f"one by one: {width}")
    assert module._weights(200) == "one by one: 200"


def test_values_within_the_error_of_a_rounding_edge_are_computed_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without the second look some pixel would differ: the look is what makes it exact."""
    monkeypatch.setattr(module, "_settle", lambda *_: None)
    wrong = 0
    for seed in range(40):
        pixels = content("edges", 1999, 300, seed)
        wrong += int((module._rows(pixels) != rows_of_pillow(pixels)).sum())
    assert wrong > 0
