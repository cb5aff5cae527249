"""Progress on a terminal, in a log and as JSON lines, by a clock of our own."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from coyo_tools.cli import progress_lines
from coyo_tools.cli.progress_lines import JsonLines, Plain, Redrawn
from coyo_tools.words.progress import Progress, silent
from tests.servers.pictures import PictureServer
from tests.tables import coyo_table, write_parts


class Heard:
    """A listener with a clock that is set by hand, and what it printed."""

    def __init__(self, kind) -> None:
        self.now, self.printed = 100.0, ""
        self.listener = kind(self._print, lambda: self.now)

    def _print(self, text: str) -> None:
        self.printed += text

    def at(self, now: float, done: int, total: int | None = 1_000, **more) -> str:
        """What a step at this second prints."""
        self.now, before = now, len(self.printed)
        self.listener(Progress("download", done, total, "rows", **more))
        return self.printed[before:]


TOPS = {
    "errors": [("http_404", 100), ("dns", 5)],
    "slowest_hosts": [("slow.example", 9.84), ("b.example", 1.0)],
}


def test_json_lines_are_objects_with_rate_and_time_left():
    heard = Heard(JsonLines)
    assert heard.at(100, 200)  # a run that goes on: 200 rows were there
    assert heard.at(100.5, 250) == ""  # one a second
    line = heard.at(110, 400, note="n", counts={"rows": 200, "bytes": 7.5}, tops=TOPS)
    assert line.endswith("\n")
    assert json.loads(line) == {
        "verb": "download", "done": 400, "total": 1000, "unit": "rows", "note": "n",
        "counts": {"rows": 200, "bytes": 7.5},
        "tops": {name: [list(pair) for pair in pairs] for name, pairs in TOPS.items()},
        "news": "", "elapsed_s": 10.0, "rate": 20.0, "left_s": 30.0,
    }  # fmt: skip
    assert json.loads(heard.at(110.1, 1_000))["left_s"] == 0  # the last one always
    assert heard.at(110.2, 1_000) == ""  # and once
    assert json.loads(heard.at(120, 5, None))["left_s"] is None
    assert all(isinstance(json.loads(line), dict) for line in heard.printed.splitlines())


def test_a_log_has_a_line_a_minute_and_none_of_what_takes_less():
    heard = Heard(Plain)
    assert heard.at(100, 0) == ""
    assert heard.at(159, 100) == ""
    assert heard.at(160, 120, counts={"rows": 120}, tops=TOPS) == (
        "download: 120 of 1,000 rows  7 min 20 s left  2.0 rows/s; failed: http_404 100 (83.3%), "
        "dns 5 (4.2%); slowest: slow.example 9.8 s, b.example 1.0 s\n"
    )
    assert heard.at(200, 500) == ""
    assert heard.at(201, 1_000) == ""  # the result is printed after it


def test_a_terminal_s_lines_are_drawn_in_their_place(monkeypatch):
    monkeypatch.setenv("COLUMNS", "41")
    heard = Heard(Redrawn)
    assert heard.at(100, 0) == "\r\x1b[Jdownload: 0 of 1,000 rows"
    assert heard.at(100.05, 1) == ""
    three = heard.at(101, 10, counts={"rows": 10}, tops=TOPS)
    assert three.count("\n") == 2
    assert all(len(line) <= 40 for line in three.removeprefix("\r\x1b[J").split("\n"))
    assert heard.at(102, 20).startswith("\r\x1b[2A\x1b[J")  # two lines up
    assert heard.at(103, 1_000) == "\r\x1b[J"


def test_news_are_shown_at_once_and_once():
    lines = Heard(JsonLines)
    assert lines.at(100, 0)
    told = json.loads(lines.at(100.1, 5, news="the network is gone"))
    assert (told["news"], told["done"], told["elapsed_s"]) == ("the network is gone", 5, 0.1)
    log = Heard(Plain)
    assert log.at(100, 0) == ""
    assert log.at(101, 5, news="the network is gone") == "download: the network is gone\n"
    assert log.at(102, 6) == ""
    terminal = Heard(Redrawn)
    assert terminal.at(100, 1, counts={"rows": 10}, tops=TOPS).count("\n") == 2
    said = terminal.at(100.01, 5, news="the network is gone")
    assert said == "\r\x1b[2A\x1b[Jdownload: the network is gone\n"
    assert terminal.at(100.02, 6).startswith("\r\x1b[Jdownload: 6 of")


def test_which_kind_is_chosen(monkeypatch):
    assert progress_lines.listener("none") is silent
    assert isinstance(progress_lines.listener("json"), JsonLines)
    for terminal, kind in ((True, Redrawn), (False, Plain)):
        monkeypatch.setattr(
            progress_lines.sys.stderr, "isatty", lambda t=terminal: t, raising=False
        )
        assert isinstance(progress_lines.listener(), kind)
        assert isinstance(progress_lines.listener("plain"), Plain)


@pytest.mark.parametrize("kind", ["json", "auto", "none"])
def test_a_download_tells_on_stderr_alone(tmp_path, kind):
    with PictureServer(delay_s=0.05) as server:
        write_parts(tmp_path / "in", coyo_table(server.urls(60)), parts=1)
        done = subprocess.run(
            [sys.executable, "-m", "coyo_tools", "download", str(tmp_path / "in"), "--json",
             "-o", str(tmp_path / "out"), "--allow-private-addresses", "--image-size", "64",
             "--processes", "1", "--connections", "2", "--progress", kind],
            capture_output=True, text=True, check=True, env=dict(os.environ),
        )  # fmt: skip
        host = server.base_url.removeprefix("http://")
    assert json.loads(done.stdout)["rows"] == 60
    if kind != "json":
        assert done.stderr == ""
        return
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    last = lines[-1]
    assert (last["verb"], last["done"], last["total"], last["left_s"]) == ("download", 60, 60, 0)
    assert last["counts"]["rows"] == 60
    assert last["counts"]["successes"] == 51
    assert dict(last["tops"]["errors"]) == {"http_404": 6, "not_an_image": 3}
    ((slowest, seconds),) = last["tops"]["slowest_hosts"]
    assert slowest == host
    assert 0.05 <= seconds < 5
