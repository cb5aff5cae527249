"""Decoders that one process lends another, with real sockets and real pictures."""

from __future__ import annotations

import gc
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from coyo_tools.pieces import lending
from coyo_tools.pieces.demo_data import demo_pictures, picture_bytes
from coyo_tools.pieces.images import process
from coyo_tools.pieces.lending import Borrower, Lender
from coyo_tools.words.config import DownloadSettings

SETTINGS = DownloadSettings(image_size=64)
PICTURE = picture_bytes(demo_pictures()[0].file)


@contextmanager
def lent(folder: Path, threads: int = 2) -> Iterator[Callable[[], None]]:
    """A lender in a thread; gives what ends it."""
    over = threading.Event()
    thread = threading.Thread(target=Lender(folder, SETTINGS, threads).serve, args=(over.is_set,))
    thread.start()

    def end() -> None:
        over.set()
        thread.join(10)
        assert not thread.is_alive()

    try:
        yield end
    finally:
        end()


class Busy(threading.Semaphore):
    """As if all threads here were decoding, until one waits for them."""

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        return blocking and super().acquire(timeout=timeout)


def turned_to(folder: Path, threads: int = 2) -> Borrower:
    """A borrower that has found the lender, and is busy itself."""
    borrower = Borrower(folder, SETTINGS, threads)
    borrower._here = Busy(threads)
    while not borrower.look():
        pass
    return borrower


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the threads that decode."""
    names: list[str] = []

    def counting(*given, **more):
        names.append(threading.current_thread().name)
        return process(*given, **more)

    monkeypatch.setattr(lending, "process", counting)
    return names


@pytest.mark.parametrize("phash", [False, True])
@pytest.mark.parametrize("data", [PICTURE, PICTURE[:2000], b"", b"<html>"])
def test_a_lent_decoder_gives_what_ours_does(
    tmp_path: Path, counted: list[str], data: bytes, phash: bool
) -> None:
    with lent(tmp_path / "lent"):
        borrower = turned_to(tmp_path / "lent")
        assert borrower.process(data, phash=phash) == process(data, SETTINGS, phash=phash)
        assert borrower.look() == 0, "asked the same lender again"
        borrower.close()
    assert counted
    assert threading.current_thread().name not in counted


def test_a_thread_that_is_free_here_comes_first(tmp_path: Path, counted: list[str]) -> None:
    with lent(tmp_path / "lent"):
        borrower = turned_to(tmp_path / "lent")
        borrower._here = threading.Semaphore(1)
        assert borrower.process(PICTURE) == process(PICTURE, SETTINGS)
        borrower.close()
    assert counted == [threading.current_thread().name]


def test_where_all_are_busy_the_picture_is_decoded_here(tmp_path: Path, counted: list[str]) -> None:
    with lent(tmp_path / "lent"):
        borrower = turned_to(tmp_path / "lent")
        taken = [borrower._free.get_nowait() for _ in range(4)]  # two threads, two pictures each
        assert borrower._free.empty()
        assert borrower.process(PICTURE) == process(PICTURE, SETTINGS)
        assert counted == [threading.current_thread().name]
        for connection in taken:
            connection.close()


def test_a_lender_that_ends_loses_no_picture(tmp_path: Path, counted: list[str]) -> None:
    with lent(tmp_path / "lent", 1):
        borrower = turned_to(tmp_path / "lent", 1)
        one, other = borrower._free.get_nowait(), borrower._free.get_nowait()
        one.close()
        other.close()
        borrower._free.put(one)
        assert borrower.process(PICTURE) == process(PICTURE, SETTINGS)
    assert counted == [threading.current_thread().name]


def test_a_decoder_that_fails_there_is_not_lent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = threading.current_thread()

    def failing(*given, **more):
        if threading.current_thread() is not here:
            raise MemoryError
        return process(*given, **more)

    monkeypatch.setattr(lending, "process", failing)
    with lent(tmp_path / "lent", 1):
        borrower = turned_to(tmp_path / "lent", 1)
        for _ in range(2):  # it was handed two at a time
            assert borrower.process(PICTURE) == process(PICTURE, SETTINGS)
        assert borrower._free.empty()


def test_a_path_that_is_too_long_for_a_socket_lends_nothing(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 40)
    Lender(folder, SETTINGS, 1).serve(lambda: pytest.fail("it listens"))
    assert Borrower(folder, SETTINGS, 1).look() == 0


def test_a_lender_that_does_not_listen_yet_is_turned_to_later(tmp_path: Path) -> None:
    borrower = Borrower(tmp_path, SETTINGS, 1)
    with socket.socket(socket.AF_UNIX) as early:
        early.bind(str(tmp_path / "a.socket"))
        assert borrower.look() == 0
        gc.collect()  # a socket that was left open would be warned of
        early.listen()
        assert borrower.look() == 2
        borrower.close()


def test_without_a_lender_there_is_none(tmp_path: Path) -> None:
    assert Borrower(tmp_path / "nothing", SETTINGS, 4).look() == 0
