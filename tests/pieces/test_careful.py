from __future__ import annotations

import os
import signal

from coyo_tools.pieces.careful import CarefulDecoder
from coyo_tools.pieces.images import Picture, Spoiled, process
from coyo_tools.words.config import DownloadSettings
from coyo_tools.words.failures import Failure
from tests import crashing
from tests.servers.pictures import picture

SETTINGS = DownloadSettings(image_size=32)


def test_it_gives_what_decoding_here_gives():
    decoder = CarefulDecoder(SETTINGS)
    try:
        for data in (picture(1), b"<html>", picture(2)[:500]):
            assert decoder.process(data) == process(data, SETTINGS)
        assert isinstance(decoder.process(picture(3), phash=True), Picture)
    finally:
        assert decoder.close() == 0


def test_a_child_that_dies_costs_one_picture():
    decoder = CarefulDecoder(SETTINGS)
    try:
        assert isinstance(decoder.process(picture(1)), Picture)
        os.kill(decoder._child.pid, signal.SIGKILL)
        decoder._child.wait()
        died = decoder.process(picture(1))
        assert isinstance(died, Spoiled)
        assert died.failure.error == "decoder_crashed"
        assert isinstance(decoder.process(picture(1)), Picture)
    finally:
        decoder.close()


def test_a_picture_that_does_not_end_is_given_up(tmp_path, monkeypatch):
    crashing.install(tmp_path / "modules", monkeypatch)
    decoder = CarefulDecoder(SETTINGS)
    try:
        endless = decoder.process(picture(1) + b"keep me")
        assert endless == Spoiled(Failure("decoder_crashed", "does not end"))
        assert isinstance(decoder.process(picture(1)), Picture)
    finally:
        decoder.close()


def test_closing_twice_is_closing_once():
    decoder = CarefulDecoder(SETTINGS)
    assert decoder.close() is None
