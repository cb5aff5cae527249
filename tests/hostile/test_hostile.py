"""Every line of docs/hostile.md: each has its class, and none costs more than its deadline."""

from __future__ import annotations

import io
import time

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from coyo_tools.machinery import engine
from coyo_tools.pieces.blocklist import BlockList
from coyo_tools.pieces.decoding import quiet
from coyo_tools.pieces.fetch import Fetched, Fetcher
from coyo_tools.pieces.outcomes import outcome_of
from coyo_tools.pieces.rows import Outcome
from coyo_tools.verbs.download import download
from coyo_tools.words.config import DownloadSettings
from coyo_tools.words.failures import FAILURES
from tests import crashing
from tests.hostile import pictures
from tests.hostile.case import DEADLINE_S, MAX_BYTES, PLAIN, Case
from tests.hostile.cases import CASES, routes, targets
from tests.hostile.world import World, outside_is_public
from tests.tables import coyo_table, write_parts

TRIED = [case for case in CASES if not case.crashes]
# The server's side of these would take this process's whole attention from the others.
FLOODS = ("flood-fast", "drip-extension")
ALONE = [case for case in CASES if case.crashes]
SPARE_S = 2.0  # for connecting, decoding and a busy machine


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with World(routes(), targets(), tmp_path_factory.mktemp("world")) as running:
        yield running


@pytest.fixture(autouse=True)
def _outside(world, monkeypatch):
    """After each test: nothing that is not public was connected to."""
    with outside_is_public(monkeypatch, world.authority):
        yield
    assert world.reached_inside == 0


def settings(**changed) -> DownloadSettings:
    defaults = {"timeout_s": DEADLINE_S, "max_bytes": MAX_BYTES, "retries": 0, "image_size": 32}
    return DownloadSettings(**{**defaults, **changed})


def named(value: object) -> str:
    return value.name if isinstance(value, Case) else str(value)


async def outcome(url: str) -> Outcome:
    async with Fetcher(settings()) as fetcher:
        answer = await fetcher.fetch(url)
    if not isinstance(answer, Fetched):
        return Outcome(answer.failure)
    with quiet():
        return outcome_of(answer.data, settings(), BlockList())


def check(case: Case, found: Outcome, timeout_s: float = DEADLINE_S) -> None:
    failure = found.failure
    assert (failure.error if failure else None) == case.error, (failure, found.width)
    if failure is None:
        assert_red(found.data)
    elif case.message is not None:
        said = failure.message or failure.error
        assert said == case.message.format(timeout=f"{timeout_s:g}")


def assert_red(data: bytes) -> None:
    """The picture that was served, or the first of its frames; some are black or of one pixel."""
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).reshape(-1, 3).mean(0)
    assert np.abs(pixels - pictures.RED).max() < 12 or pixels.max() < 3, pixels


@pytest.mark.parametrize("case", TRIED, ids=named)
async def test_it_has_its_class_and_costs_no_more_than_its_deadline(world, case):
    started = time.monotonic()
    check(case, await outcome(world.url(case.template)))
    assert time.monotonic() - started < DEADLINE_S + SPARE_S


@pytest.mark.parametrize("hops", [1, 3])
@pytest.mark.parametrize("case", [c for c in TRIED if c.anywhere], ids=named)
async def test_behind_redirects_it_is_the_same(world, case, hops):
    check(case, await outcome(world.url(f"{PLAIN}/hop/{hops}/{case.name}")))


async def test_one_session_survives_them_all(world):
    async with Fetcher(settings()) as fetcher:
        for case in TRIED:
            if case.error not in (None, "timeout"):
                await fetcher.fetch(world.url(case.template))
                answer = await fetcher.fetch(world.url(f"{PLAIN}/fine"))
                assert answer == Fetched(pictures.jpeg()), case.name


def test_a_run_over_all_of_them_records_what_the_table_says(world, tmp_path, monkeypatch):
    """In this process, where the test's internet is; each url as if of a host of its own, since
    what one row says of its host decides over others."""
    monkeypatch.setattr("coyo_tools.stages.turns.host_of", lambda url: url or "")
    run = engine.run
    monkeypatch.setattr(engine, "run", lambda *a, **k: run(*a, **{**k, "processes": 0}))
    tried = [case for case in TRIED if case.name not in FLOODS]
    distinct = {world.url(case.template): case for case in tried}
    write_parts(tmp_path / "in", coyo_table(list(distinct)), 1)
    download(tmp_path / "in", tmp_path / "out", settings(timeout_s=4, retries=0))
    rows = pq.read_table(tmp_path / "out/00000.parquet").to_pylist()
    for row, (url, case) in zip(rows, distinct.items(), strict=True):
        assert (row["url"], row["error"]) == (url, case.error), case.name
        if case.message is not None:
            assert row["error_message"] == case.message.format(timeout=4), case.name
    here = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert not {name for name in here if "passwd" in name or "evil" in name}


@pytest.mark.parametrize("case", ALONE, ids=named)
def test_a_crash_costs_its_row_and_not_the_run(world, tmp_path, monkeypatch, case):
    crashing.install(tmp_path / "modules", monkeypatch)
    # The workers see the real internet: one address of it is this machine's.
    urls = [world.url(f"http://127.9.9.9:{{port}}/{name}") for name in (case.name, "404", "empty")]
    write_parts(tmp_path / "in", coyo_table(urls), 1)
    chosen = settings(allow_private_addresses=True, processes=1, timeout_s=5)
    download(tmp_path / "in", tmp_path / "out", chosen)
    rows = pq.read_table(tmp_path / "out/00000.parquet").to_pylist()
    assert [row["error"] for row in rows] == [case.error, "http_404", "empty"]
    assert rows[0]["error_message"] == case.message


def test_the_table_is_long_its_names_are_distinct_and_its_classes_exist():
    assert len(CASES) >= 60
    assert len({case.name for case in CASES}) == len(CASES)
    assert {case.error for case in CASES if case.error} <= set(FAILURES)
