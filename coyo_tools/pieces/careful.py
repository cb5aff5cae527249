"""Decoding in a child process, for shards in whose company a worker died.

A decoder that crashes, or does not end, takes the child with it and not the run; the picture it was
given is recorded as `decoder_crashed` and the next one gets a new child. A row costs some
milliseconds more this way, so it is not the usual one.
"""

from __future__ import annotations

import json
import pickle
import struct
import subprocess
import sys
import threading
from pathlib import Path

from coyo_tools.machinery.watchdog import bounded, how_it_ended
from coyo_tools.pieces.images import Picture, Spoiled, process
from coyo_tools.words.config import DownloadSettings
from coyo_tools.words.failures import Failure

_LENGTH = struct.Struct("<Q")


class CarefulDecoder:
    """`images.process` in a child; one picture at a time, from any thread."""

    def __init__(self, settings: DownloadSettings) -> None:
        self._settings = settings
        self._child: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def process(self, data: bytes, *, phash: bool = False) -> Picture | Spoiled:
        """As `images.process`; `decoder_crashed` where the child did not survive."""
        with self._lock:
            child = self._child or self._start()
            try:
                return self._ask(child, data, phash)
            except (BrokenPipeError, EOFError):
                return Spoiled(Failure("decoder_crashed", how_it_ended(self.close())))

    def close(self) -> int | None:
        """End the child; gives its exit status."""
        child, self._child = self._child, None
        if child is None:
            return None
        for pipe in (child.stdin, child.stdout):
            assert pipe is not None
            try:
                pipe.close()
            except BrokenPipeError:
                continue  # it is gone already
        return child.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        path = json.dumps([p or str(Path.cwd()) for p in sys.path])
        code = f"import sys; sys.path[:] = {path}; from {__name__} import child_main; child_main()"
        self._child = subprocess.Popen(  # noqa: S603  our own interpreter, our own code
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        return self._child

    def _ask(self, child: subprocess.Popen[bytes], data: bytes, phash: bool) -> Picture | Spoiled:
        assert child.stdin is not None
        assert child.stdout is not None
        question = pickle.dumps((data, self._settings, phash))
        child.stdin.write(_LENGTH.pack(len(question)) + question)
        child.stdin.flush()
        head = child.stdout.read(_LENGTH.size)
        if len(head) < _LENGTH.size:
            raise EOFError
        answer = child.stdout.read(_LENGTH.unpack(head)[0])
        result = pickle.loads(answer)  # noqa: S301  from our own child
        assert isinstance(result, Picture | Spoiled)
        return result


def child_main() -> None:
    """The child's side: answer until the parent closes the pipe."""
    questions, answers = sys.stdin.buffer, sys.stdout.buffer
    while len(head := questions.read(_LENGTH.size)) == _LENGTH.size:
        data, settings, phash = pickle.loads(  # noqa: S301  from our own parent
            questions.read(_LENGTH.unpack(head)[0])
        )
        with bounded():
            answer = pickle.dumps(process(data, settings, phash=phash))
        answers.write(_LENGTH.pack(len(answer)) + answer)
        answers.flush()
