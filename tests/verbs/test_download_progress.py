"""What a download tells on its way of rows that need not be fetched."""

from __future__ import annotations

from coyo_tools.cli.progress_lines import JsonLines
from coyo_tools.verbs.download import download
from coyo_tools.verbs.fetching import Told
from coyo_tools.words.progress import Progress
from tests.tables import coyo_table, write_parts
from tests.verbs.test_download import Recovering, settings


def test_rows_that_are_kept_are_done_at_the_start_and_in_no_rate(tmp_path):
    steps: list[Progress] = []
    with Recovering(60) as unwell:
        urls = [f"{unwell.base_url}/{2 * n if n > 3 else 1 + 2 * n}.jpg" for n in range(30)]
        write_parts(tmp_path / "in", coyo_table(urls), 1)
        first = download(tmp_path / "in", tmp_path / "out", settings(retries=0))
        assert first.by_error == {"http_404": 6, "http_5xx": 4}
        unwell.well = True
        chosen = settings(retries=0)
        download(
            tmp_path / "in", tmp_path / "out", chosen, retry_failed=True, progress=steps.append
        )
    told = [step for step in steps if step.total is not None]
    assert {step.total for step in told} == {10}  # the one shard that is rewritten
    assert [told[0].done, told[-1].done] == [6, 10]
    assert told[-1].counts["rows"] == told[-1].counts["successes"] == 4
    now = [0.0]
    lines = JsonLines(lambda _: None, lambda: now[0])
    lines(told[0])
    now[0] = 2.0
    lines(Progress("download", 8, 10, "rows"))
    assert lines.left_s(Progress("download", 8, 10, "rows")) == 2.0


def test_an_outage_that_several_processes_notice_is_told_once():
    steps: list[Progress] = []
    told = Told("download", 100, steps.append)
    for process, gone in ((1, True), (2, True), (1, False), (2, False), (2, True), (2, False)):
        told.hear({"network": {"process": process, "gone": gone, "lasted_s": 12.3 * process}})
    news = [step.news for step in steps]
    assert [each.split(";")[0].split(":")[0] for each in news] == [
        "the network is gone", "the network is back after 12 s",
        "the network is gone", "the network is back after 25 s",
    ]  # fmt: skip
    told.tell()
    assert steps[-1].news == ""
