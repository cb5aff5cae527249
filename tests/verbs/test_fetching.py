"""What workers tell, added up: rates, failures and the hosts that cost most time."""

from __future__ import annotations

import pytest

from coyo_tools.verbs import fetching
from coyo_tools.verbs.fetching import Told
from coyo_tools.words.progress import Progress


def news(**changed):
    return {"rows": 0, "successes": 0, "bytes": 0, "errors": {}, "hosts": {}} | changed


def test_speed_is_that_of_the_last_minute(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(fetching.time, "monotonic", lambda: now[0])
    steps: list[Progress] = []
    told = Told("download", 10**6, steps.append)
    for second in range(1, 121):
        now[0] = float(second)
        rows = 100 if second <= 60 else 10
        told.hear(news(rows=rows, successes=rows // 2, bytes=rows * 10**5))
    counts = steps[-1].counts
    assert counts["rows_per_s"] == pytest.approx(10)
    assert counts["images_per_s"] == pytest.approx(5)
    assert counts["mb_per_s"] == pytest.approx(1)
    assert steps[59].counts["rows_per_s"] == pytest.approx(100)


def test_hosts_are_ranked_by_what_they_cost_and_shown_by_request():
    steps: list[Progress] = []
    told = Told("download", 100, steps.append)
    told.hear(news(rows=2, errors={"dns": 2}, hosts={"a": (10, 50.0), "b": (1, 9.0)}))
    told.hear(news(rows=3, errors={"dns": 1, "tls": 2}, hosts={"a": (10, 10.0)}))
    assert steps[-1].tops == {
        "errors": [("dns", 3), ("tls", 2)], "slowest_hosts": [("a", 3.0), ("b", 9.0)],
    }  # fmt: skip


def test_hosts_without_end_do_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(fetching, "_HOSTS_HELD", 10)
    steps: list[Progress] = []
    told = Told("download", 100, steps.append)
    for n in range(100):
        told.hear(news(hosts={f"h{n}": (1, 100.0 - n)}))
    assert len(told._hosts) <= 10
    assert steps[-1].tops["slowest_hosts"][0] == ("h0", 100.0)
