"""Memory that two processes see, through which one hands Python objects to the other.

It has no name: it is a file descriptor that a child inherits, and is gone when both processes
are, however they end. On Linux no file system holds it either (memfd), so the size of /dev/shm, 64
MB in a container, does not limit it.
"""

from __future__ import annotations

import copyreg
import io
import mmap
import os
import pickle
import sys
import tempfile
import weakref
from collections.abc import Callable, Sequence
from functools import cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Bytes = np.ndarray[Any, np.dtype[np.uint8]]

_ALIGNED = 64  # bytes: to which arrays begin, as a processor likes them
_KEPT = 64 << 20  # bytes: what is larger is given back after use


class SharedMemory:
    """One object at a time: one process puts it, tells the other its sizes, and the other takes it.

    The memory grows as objects ask for it. descriptor: of memory that another process has made.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        self.descriptor = _anonymous() if descriptor is None else descriptor
        self._seen: Bytes | None = None

    def close(self) -> None:
        """Let go of it."""
        self._seen = None
        os.close(self.descriptor)

    def put(self, value: Any) -> list[int]:
        """Write the object; the sizes, in bytes, of which `take` wants to be told.

        Arrays of numpy and tensors of torch on the CPU are copied once, whatever their size. Raises
        what pickle raises.
        """
        import numpy as np

        buffers: list[pickle.PickleBuffer] = []
        stream = io.BytesIO()
        _pickler(stream, buffers).dump(value)
        parts = [stream.getbuffer(), *(buffer.raw() for buffer in buffers)]
        sizes = [part.nbytes for part in parts]
        starts = _starts(sizes)
        memory = self._of(starts[-1])
        for start, part in zip(starts, parts, strict=False):
            memory[start : start + part.nbytes] = np.frombuffer(part, np.uint8)
        return sizes

    def take(self, sizes: Sequence[int], lent: Callable[[], object] | None = None) -> Any:
        """The object, in memory of this process: what is put next does not touch it.

        lent: called when nothing is left of the object's arrays, which stay in this memory then:
        nothing may be put before. Called at once where they do not: of much that is to be given
        back to the system.
        """
        starts = _starts(sizes)
        memory = self._of(starts[-1])
        arrays: Bytes = memory[starts[1] : starts[-1]]
        if lent is not None and len(memory) <= _KEPT:
            arrays = arrays.view(_lent_array())
            weakref.finalize(arrays, lent).atexit = False
        else:
            arrays = arrays.copy()
        ends = zip(starts[1:], sizes[1:], strict=False)
        buffers = [arrays[at - starts[1] : at - starts[1] + size] for at, size in ends]
        value = pickle.loads(memory[: sizes[0]].data, buffers=buffers)  # noqa: S301  from our own process
        if lent is not None and len(memory) > _KEPT:
            lent()
        if len(memory) > _KEPT:
            self._seen = None
            os.ftruncate(self.descriptor, 0)
        return value

    def _of(self, size: int) -> Bytes:
        """At least so many bytes; the other process may have changed how many there are."""
        import numpy as np

        there = os.fstat(self.descriptor).st_size
        if there < size:
            there = 1 << size.bit_length()
            os.ftruncate(self.descriptor, there)
        if self._seen is None or len(self._seen) != there:
            self._seen = np.frombuffer(mmap.mmap(self.descriptor, there), np.uint8)
        return self._seen


@cache
def _lent_array() -> type[Bytes]:
    """Arrays made of one keep it alive; numpy passes over plain ones, to what they are made of."""
    import numpy as np

    class Lent(np.ndarray[Any, np.dtype[np.uint8]]):
        pass

    return Lent


def _anonymous() -> int:
    if hasattr(os, "memfd_create"):  # not on macOS
        return os.memfd_create("coyo")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _starts(sizes: Sequence[int]) -> list[int]:
    """Where each part begins, and at the end where the next would."""
    return list(accumulate((-(-size // _ALIGNED) * _ALIGNED for size in sizes), initial=0))


def _pickler(stream: io.BytesIO, buffers: list[pickle.PickleBuffer]) -> pickle.Pickler:
    pickler = pickle.Pickler(stream, pickle.HIGHEST_PROTOCOL, buffer_callback=buffers.append)
    # Where torch is not imported, or only in part yet by another thread, there are no tensors.
    if tensor := getattr(sys.modules.get("torch"), "Tensor", None):
        pickler.dispatch_table = copyreg.dispatch_table | {tensor: _reduce}
    return pickler


def _reduce(tensor: Any) -> Any:
    """A tensor as the numpy array of the same memory: torch itself would copy it twice."""
    try:
        array = tensor.numpy()
    except (TypeError, RuntimeError):  # on a GPU, or of a type that numpy lacks
        return tensor.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
    return _tensor, (array,)


def _tensor(array: Any) -> Any:
    import torch

    return torch.from_numpy(array)
