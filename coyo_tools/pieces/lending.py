"""Decoders that processes lend one another: who has no rows left decodes for those that have.

A lender listens at a socket in a folder that all processes share and nobody else may enter. Each
connection decodes one picture at a time. Where a lender is gone, or its socket's path is longer
than the system allows, pictures are decoded by the process that fetched them. A process whose
decoder does not end is ended, whoever fetched the picture (`machinery/watchdog.py`).
"""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from uuid import uuid4

from coyo_tools.machinery.watchdog import bounded
from coyo_tools.pieces.images import Picture, Spoiled, process
from coyo_tools.words.config import DownloadSettings

_GLANCE_S = 0.02  # how often a lender looks whether it is wanted any longer
_SOCKET = ".socket"
_AHEAD = 2  # pictures that each lent thread is handed: the next one comes while one is decoded


class Lender:
    """Decodes for other processes, in so many threads at once."""

    def __init__(self, folder: Path, settings: DownloadSettings, threads: int) -> None:
        self._folder, self._settings = folder, settings
        self._slots = threading.BoundedSemaphore(threads)

    def serve(self, is_over: Callable[[], bool]) -> None:
        """Answer whoever connects, until it is over."""
        with contextlib.suppress(OSError), self._listening() as listener:
            while not is_over():
                with contextlib.suppress(TimeoutError):
                    connection, _ = listener.accept()
                    connection.setblocking(True)
                    self._answer_in_a_thread(Connection(connection.detach()))

    @contextlib.contextmanager
    def _listening(self) -> Iterator[socket.socket]:
        self._folder.mkdir(exist_ok=True)
        path = self._folder / f"{uuid4().hex[:8]}{_SOCKET}"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen()
            listener.settimeout(_GLANCE_S)
            try:
                yield listener
            finally:
                path.unlink(missing_ok=True)

    def _answer_in_a_thread(self, connection: Connection) -> None:
        threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: Connection) -> None:
        """Until the other side, or a decoder, gives up: then pictures are decoded over there."""
        with connection, contextlib.suppress(Exception):
            while True:
                data, phash = connection.recv()
                with self._slots, bounded():
                    made = process(data, self._settings, phash=phash)
                connection.send(made)


class Borrower:
    """Decodes here where fewer than `threads` do, else by a lent decoder that is free."""

    def __init__(self, folder: Path, settings: DownloadSettings, threads: int) -> None:
        self._folder, self._settings, self._threads = folder, settings, threads
        self._here = threading.Semaphore(threads)
        self._asked: set[str] = set()  # names of sockets
        self._free: queue.SimpleQueue[Connection] = queue.SimpleQueue()

    def look(self) -> int:
        """Turn to lenders that are new since the last look; how many more pictures may be decoded
        at once, or be on their way."""
        with contextlib.suppress(FileNotFoundError):  # nobody lends yet
            with os.scandir(self._folder) as listed:  # 20 times a second: no Path for each
                names = {entry.name for entry in listed if entry.name.endswith(_SOCKET)}
            return sum(self._turn_to(name) for name in names - self._asked)
        return 0

    def process(self, data: bytes, *, phash: bool = False) -> Picture | Spoiled:
        """As `images.process`, from any thread."""
        if not self._here.acquire(blocking=False):
            with bounded(patience=2):  # the lender, that began a little later, shall be the one
                made = self._elsewhere(data, phash)
            if made is not None:
                return made
            self._here.acquire()
        try:
            with bounded():
                return process(data, self._settings, phash=phash)
        finally:
            self._here.release()

    def _elsewhere(self, data: bytes, phash: bool) -> Picture | Spoiled | None:
        """By a lent decoder; None where none is free, or it is gone."""
        try:
            connection = self._free.get_nowait()
        except queue.Empty:
            return None
        try:
            connection.send((data, phash))
            made = connection.recv()
        except (EOFError, OSError):
            connection.close()
            return None
        self._free.put(connection)
        assert isinstance(made, Picture | Spoiled)
        return made

    def close(self) -> None:
        """Give back what was lent."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._free.get_nowait().close()

    def _turn_to(self, name: str) -> int:
        lent = 0
        with contextlib.suppress(OSError):  # it does not listen yet, or is gone
            for _ in range(_AHEAD * self._threads):
                with socket.socket(socket.AF_UNIX) as connection:
                    connection.connect(str(self._folder / name))
                    self._free.put(Connection(connection.detach()))
                lent += 1
        if lent:
            self._asked.add(name)
        return lent
