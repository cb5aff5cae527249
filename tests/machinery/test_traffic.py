"""What a run fetches, counted for itself alone."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest

from coyo_tools.machinery.traffic import Traffic, retry_after, told_of_waits
from coyo_tools.words.config import RemoteSettings
from coyo_tools.words.errors import SettingsError
from coyo_tools.words.progress import Progress


def test_threads_count_together_and_runs_apart():
    one, other = Traffic(), Traffic()

    def work(_):
        for _ in range(1000):
            one.count(requests=1, bytes=3)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert one.fetched(of=20_000).to_dict() == {
        "requests": 4000, "bytes": 12_000, "repeated": 0, "of": 20_000
    }  # fmt: skip
    assert other.fetched() is None


def test_another_process_counts_for_itself():
    traffic = Traffic(RemoteSettings(attempts=3))
    traffic.count(requests=1)
    copy = pickle.loads(pickle.dumps(traffic))
    assert (copy.settings.attempts, copy.fetched()) == (3, None)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 37.0),
        ("Sun, 06 Nov 1994 08:48:37 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("", None),
    ],
)
def test_retry_after_is_a_number_or_a_date(said, seconds):
    assert retry_after({"Retry-After": said}, now=784111740.0) == seconds


def test_a_listener_hears_of_waiting_between_steps():
    heard, traffic = [], Traffic()
    hear = told_of_waits(heard.append, traffic, "filter")
    traffic.on_wait("waiting 2 s: busy")
    hear(Progress("filter", 5, 9, "rows"))
    traffic.on_wait("waiting 4 s: busy")
    assert [(step.done, step.total, step.note) for step in heard] == [
        (0, None, "waiting 2 s: busy"), (5, 9, ""), (5, 9, "waiting 4 s: busy")
    ]  # fmt: skip


def test_the_environment_sets_how_remote_sources_are_read():
    read = RemoteSettings.from_environment(
        {"COYO_REMOTE_ATTEMPTS": "3", "COYO_REMOTE_PAUSE_S": "0.25", "COYO_REMOTE_TIMEOUT_S": " "}
    )
    assert read == RemoteSettings(attempts=3, pause_s=0.25)
    with pytest.raises(SettingsError, match="COYO_REMOTE_ATTEMPTS: 'many' is no whole number"):
        RemoteSettings.from_environment({"COYO_REMOTE_ATTEMPTS": "many"})
    with pytest.raises(SettingsError, match="below 1"):
        RemoteSettings.from_environment({"COYO_REMOTE_ATTEMPTS": "0"})
