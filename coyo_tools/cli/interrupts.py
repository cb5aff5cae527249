"""Ctrl-C, also where it lands in a library that makes another error of it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interrupts_prevail() -> Iterator[None]:
    """Raise KeyboardInterrupt in place of an error that comes after Ctrl-C.

    One that lands in an import leaves a package half there: pyarrow, which imports pandas where it
    first hands a column to numpy, then says that pandas has no attribute 'core'. Whoever has set a
    handler of their own keeps it.
    """
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    heard = False

    def hear(number: int, frame: FrameType | None) -> None:
        nonlocal heard
        heard = True
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, hear)
    try:
        yield
    except Exception as error:
        if heard:
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
