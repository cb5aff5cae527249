"""`download` where a decoder crashes."""

from __future__ import annotations

import pytest

from coyo_tools.verbs.download import download
from tests import crashing
from tests.servers.pictures import picture
from tests.servers.raw import RawServer, sends
from tests.tables import coyo_table, write_parts
from tests.verbs.test_download import answer, settings, table


@pytest.mark.parametrize(("count", "words"), [(1, b"crash me"), (4, b"crash me"), (2, b"keep me")])
def test_a_decoder_that_crashes_or_does_not_end_costs_its_row_and_not_the_run(
    tmp_path, monkeypatch, count, words
):
    crashing.install(tmp_path / "modules", monkeypatch)
    bad = {n * 5 for n in range(count)}
    routes = {
        f"/{n}.jpg": sends(answer(picture(n) + (words if n in bad else b""))) for n in range(24)
    }
    with RawServer(routes) as raw:
        urls = [f"{raw.base_url}/{n}.jpg" for n in range(24)]
        write_parts(tmp_path / "in", coyo_table(urls), 1)
        result = download(tmp_path / "in", tmp_path / "out", settings())
    errors = table(tmp_path / "out").column("error").to_pylist()
    assert errors == ["decoder_crashed" if n in bad else None for n in range(24)]
    assert result.by_status["failed_to_resize"] == count
