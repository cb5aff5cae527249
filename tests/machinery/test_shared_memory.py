"""Objects handed over through memory that two processes see."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from coyo_tools.machinery import shared_memory
from coyo_tools.machinery.shared_memory import SharedMemory

Pair = tuple[SharedMemory, SharedMemory]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Both ends, each with a descriptor and a view of its own as in two processes."""
    with _both() as both:
        yield both


class _both:
    def __enter__(self) -> Pair:
        mine = SharedMemory()
        self.ends = mine, SharedMemory(os.dup(mine.descriptor))
        return self.ends

    def __exit__(self, *_: object) -> None:
        for end in self.ends:
            end.close()


@dataclass(frozen=True)
class Fitted:
    pixels: Any
    size: tuple[int, int]


ARRAY = arrays.arrays(
    st.sampled_from([np.uint8, np.float32, np.int64, np.bool_]),
    arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=7),
)
VALUE = st.recursive(
    ARRAY | st.none() | st.text() | st.binary(max_size=200), lambda inner: st.lists(inner)
)


def alike(a: Any, b: Any) -> bool:
    if isinstance(a, list):
        return len(a) == len(b) and all(map(alike, a, b))
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    return bool(a == b)


@settings(max_examples=40)
@given(values=st.lists(VALUE, min_size=1, max_size=4))
def test_what_is_put_is_taken(values: list[Any]) -> None:
    with _both() as (mine, theirs):
        for value in values:  # one after the other, and back
            found = theirs.take(mine.put(value))
            assert alike(value, found)
            assert alike(value, mine.take(theirs.put(found)))


def test_what_was_taken_stays_as_it_is(pair: Pair) -> None:
    mine, theirs = pair
    first = theirs.take(mine.put((b"x" * 5000, Fitted(np.ones((50, 50), np.uint8), (3, 4)))))
    theirs.take(mine.put((b"y" * 5000, Fitted(np.zeros((50, 50), np.uint8), (5, 6)))))
    assert first[0] == b"x" * 5000
    assert first[1].pixels.all()
    first[1].pixels[:] = 7  # and it is its owner's
    assert (first[1].pixels == 7).all()


def test_it_grows_with_what_is_put_and_gives_back_what_is_much(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_memory, "_KEPT", 1 << 20)
    mine, theirs = pair
    for side in (10, 500, 2000, 10, 1500):
        pixels = np.random.default_rng(side).integers(0, 256, (side, side), np.uint8)
        assert np.array_equal(theirs.take(mine.put(pixels)), pixels)
        assert np.array_equal(mine.take(theirs.put([pixels, pixels]))[1], pixels)
        assert os.fstat(mine.descriptor).st_size <= 1 << 20


def test_it_has_no_name() -> None:
    memory = SharedMemory()
    memory.put(np.ones(10))
    assert os.fstat(memory.descriptor).st_nlink == 0
    memory.close()


def test_where_the_system_has_no_nameless_memory_a_file_without_a_name_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with _both() as (mine, theirs):
        assert list(tmp_path.iterdir()) == []
        assert np.array_equal(theirs.take(mine.put(np.arange(9))), np.arange(9))


def test_tensors_of_every_kind(pair: Pair) -> None:
    torch = pytest.importorskip("torch", reason="needs the score extra")
    mine, theirs = pair
    whole = torch.arange(3 * 40 * 50, dtype=torch.uint8).reshape(40, 50, 3)
    given = [
        whole,
        whole.permute(2, 0, 1),  # neither in rows nor in columns
        whole.permute(2, 1, 0),
        whole[5],
        whole.float().bfloat16(),
        whole.float().half(),
        torch.tensor(3.5),
        torch.empty(0, 3),
        torch.nn.Parameter(whole.float()),
    ]
    found = theirs.take(mine.put(given))
    assert all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(given, found, strict=True))
    row = torch.from_numpy(np.arange(30_000))[10:12]
    assert sum(mine.put(row)) < 1000  # not all that it is a part of


def test_another_thread_may_be_importing_torch(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", ModuleType("torch"))  # nothing in it yet
    mine, theirs = pair
    assert np.array_equal(theirs.take(mine.put(np.arange(9))), np.arange(9))


def test_what_is_lent_comes_back_when_nothing_is_left_of_it(pair: Pair) -> None:
    mine, theirs = pair
    back: list[int] = []
    sizes = theirs.put([np.arange(5), "text", np.ones((2, 3), np.float32)])
    found = mine.take(sizes, lambda: back.append(1))
    assert np.array_equal(found[0], np.arange(5))
    part = found[2][1:]  # of the second array alone
    del found
    assert back == []
    assert np.array_equal(part, np.ones((1, 3)))
    del part
    assert back == [1]


def test_what_is_lent_to_torch_is_kept_too(pair: Pair) -> None:
    torch = pytest.importorskip("torch", reason="needs the score extra")
    mine, theirs = pair
    back: list[int] = []
    (tensor,) = mine.take(theirs.put([torch.arange(4)]), lambda: back.append(1))
    part = tensor[2:]
    del tensor
    assert back == []
    assert part.tolist() == [2, 3]
    del part
    assert back == [1]


def test_lent_memory_outlives_its_descriptor() -> None:
    with _both() as (mine, theirs):
        array = mine.take(theirs.put(np.arange(3)), lambda: None)
    assert array.tolist() == [0, 1, 2]


def test_much_is_not_lent(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_memory, "_KEPT", 1000)
    mine, theirs = pair
    back: list[int] = []
    array = mine.take(theirs.put(np.arange(500)), lambda: back.append(1))
    assert back == [1]
    theirs.put(np.zeros(500, np.int64))
    assert array.tolist() == list(range(500))
