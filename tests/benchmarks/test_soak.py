"""The soak's own parts: what is asked of whom, what is counted, how it is drawn."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

import pytest

from benchmarks import harness


@pytest.fixture
def soak(monkeypatch):
    """The module, found as a script finds its neighbours."""
    monkeypatch.syspath_prepend(str(Path(harness.__file__).parent))
    import soak

    yield soak
    for name in ("soak", "harness"):
        sys.modules.pop(name, None)


def test_a_few_urls_are_of_hosts_that_are_not_well(soak):
    count = Counter(soak.host_of(number) for number in range(100_000))
    assert count[soak.BROKEN] == count[soak.RESETTING] == count[soak.SILENT] == 200
    assert [count[host] for host in soak.SLOW] == [500] * 4
    assert all(count[host] > 2500 for host in soak.WELL)


def test_growth_is_of_the_last_quarter_against_the_second(soak):
    assert soak.growth([(at, 100.0) for at in range(100)]) == 0
    assert soak.growth([(at, 100.0 + at) for at in range(100)]) > 0.3


def test_the_curve_is_a_picture_of_its_own(soak):
    root = ET.fromstring(soak.picture([(0.0, 90.0), (60.0, 210.0), (120.0, 200.0)]))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    [path] = [e for e in root.iter() if e.get("class") == "curve"]
    x, y = zip(*(map(float, p.split()) for p in path.get("d")[1:].split("L")), strict=True)
    assert list(x) == sorted(x)
    assert y[1] < y[2] < y[0]  # downwards in a picture


def test_memory_of_a_child_in_a_session_of_its_own_is_counted(soak):
    code = "x = b'x' * 200_000_000; print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as child:
        assert child.stdout.readline()
        assert child.pid in harness.family(os.getpid())
        assert soak.resident_mb(child.pid) > 200
        child.communicate(b"\n")
