"""Ctrl-C ends a command as Ctrl-C, whatever a library makes of it."""

from __future__ import annotations

import contextlib
import signal

import pytest

from coyo_tools.cli import main, stats
from coyo_tools.cli.interrupts import interrupts_prevail
from coyo_tools.words.errors import EngineError


def _import_cut_short() -> None:
    with contextlib.suppress(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    raise AttributeError("partially initialized module 'pandas' has no attribute 'core'")


def test_an_error_after_it_is_one_of_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stats.command, "callback", lambda **_: _import_cut_short())
    with pytest.raises(SystemExit) as ended:
        main(["stats"])
    assert ended.value.code == 130
    assert capsys.readouterr().err == "interrupted; run the same command again to go on\n"


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(EngineError), interrupts_prevail():
        raise EngineError("a worker died")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_whoever_hears_it_already_goes_on_doing_so() -> None:
    heard = []
    before = signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    try:
        with interrupts_prevail():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert heard == [signal.SIGINT]
