"""What a worker tells, once and no more."""

from __future__ import annotations

from coyo_tools.pieces.tally import Tally


def test_each_thing_is_told_once():
    tally = Tally()
    assert tally.take() is None
    tally.add(3, None, 500)
    tally.add(1, "dns", 0)
    tally.asked("a", 1.0)
    tally.asked("a", 0.5)
    assert tally.take() == {
        "rows": 4, "successes": 3, "bytes": 500, "errors": {"dns": 1}, "hosts": {"a": (2, 1.5)},
    }  # fmt: skip
    assert tally.take() is None
    tally.asked("b", 2.0)
    assert tally.take()["hosts"] == {"b": (1, 2.0)}
