"""What the tests of several verbs read."""

from __future__ import annotations

from typing import Any

import pytest

from coyo_tools.machinery import engine
from tests.metadata import cut, nasty, small_bites, write_parts


@pytest.fixture(scope="package")
def source(tmp_path_factory):
    """801 odd rows in three parts, one of them of a single row."""
    folder = tmp_path_factory.mktemp("nasty") / "metadata"
    write_parts(folder, cut(nasty(801, 1), 500, 1), row_group_size=64)
    return folder


@pytest.fixture(scope="module")
def in_small_bites():
    """For `pytestmark = pytest.mark.usefixtures(...)`: several bites a part."""
    with small_bites():
        yield


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """`score` with its worker here: small models are in the libraries' registries of this process
    alone, and what a test puts in the place of something too."""

    def here(works: Any, units: Any, on_event: Any) -> Any:
        return works[0](iter(units), on_event)

    run = engine.run
    monkeypatch.setattr(engine, "run_each", here)
    monkeypatch.setattr(engine, "run", lambda *a, **k: run(*a, **{**k, "processes": 0}))
