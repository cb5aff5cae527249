"""Byte ranges over HTTP: what is interrupted is continued where it stopped, and nothing twice."""

from __future__ import annotations

import threading
import time

import pytest

from coyo_tools.machinery import web
from coyo_tools.machinery.ranges import RangeFile, copy_ranges, read_ranges
from coyo_tools.machinery.traffic import Traffic
from coyo_tools.machinery.web import Place
from coyo_tools.words.config import RemoteSettings
from coyo_tools.words.errors import CorruptFile, SourceError
from tests.servers.files import FileServer, breaks, refuses, tags

DATA = bytes(n * 7919 % 251 for n in range(200_000))
QUICK = RemoteSettings(attempts=4, pause_s=0.01, patience_s=20, timeout_s=0.4)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    (folder / "a.bin").write_bytes(DATA)
    (folder / "odd %20 +ä.bin").write_bytes(DATA)
    (folder / "empty.bin").write_bytes(b"")
    with FileServer(folder) as server:
        yield server


@pytest.fixture
def server(running):
    running.faults.clear()
    running.asked.clear()
    running.requests.clear()
    return running


def place(server: FileServer, name: str = "a.bin") -> Place:
    return Place(f"{server.base_url}/files/{name}", name)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http:///x", "it names no host"),
        ("http://127.0.0.1:99999/x", "Port out of range"),
        ("http://[::1/x", "Invalid IPv6"),
    ],
)
def test_what_is_no_address_is_one_sentence(url, why):
    for ask in (web.size_of, web.get):
        with pytest.raises(SourceError, match=f"is no address: {why}"):
            ask(Place(url, url), Traffic(QUICK))


RANGES = [(0, 10), (10, 90_000), (150_000, 200_000)]


def test_ranges_are_what_was_asked_for_and_counted(server):
    traffic = Traffic(QUICK)
    blocks = read_ranges(place(server), RANGES, traffic, len(DATA))
    assert blocks == [DATA[start:end] for start, end in RANGES]
    counts = traffic.fetched(of=len(DATA))
    assert (counts.requests, counts.bytes, counts.repeated) == (3, 140_000, 0)


@pytest.mark.parametrize(
    ("fault", "further"),
    [
        (refuses(503), 0),
        (refuses(429), 0),
        (refuses(500), 0),
        (breaks(0), 0),
        (breaks(5_000), 5_000),
        (breaks(5_000, reset=True), 0),  # a reset may take back what was on its way
        (breaks(5_000, silent_s=1.5), 5_000),
    ],
)
def test_a_fault_is_tried_again_from_the_byte_reached(server, fault, further):
    server.faults["file"] = [fault, fault]
    traffic, waits = Traffic(QUICK), []
    traffic.on_wait = waits.append
    assert read_ranges(place(server), [(100, 60_000)], traffic) == [DATA[100:60_000]]
    starts = [start for _, start, _ in server.asked]
    assert len(starts) == 3
    assert starts[1] >= 100 + further
    assert starts[2] >= 100 + 2 * further
    counts = traffic.fetched()
    assert (counts.requests, counts.repeated) == (3, 2)
    assert counts.bytes == 60_000 - 100  # no byte came twice
    assert len(waits) == 2
    assert waits[0].startswith("waiting 0 s: ")


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (refuses(401), "127.0.0.1 answers 401 Unauthorized"),
        (refuses(403), "127.0.0.1 answers 403 Forbidden"),
        (refuses(400), "127.0.0.1 answers 400 Bad Request"),
        (refuses(416), "is shorter than it was since this run began"),
        (refuses(200), "takes no byte ranges"),
        (tags('"y"'), "was replaced by another file since this run began"),
    ],
)
def test_what_will_not_change_is_one_sentence_at_once(server, fault, said):
    traffic = Traffic(QUICK)
    read_ranges(place(server), [(0, 5)], traffic)
    server.faults["file"] = [fault]
    with pytest.raises(SourceError, match=said) as raised:
        read_ranges(place(server), [(5, 10)], traffic)
    assert str(raised.value).startswith("a.bin: ")
    assert (server.requests["file"], traffic.fetched().repeated) == (2, 0)


def test_a_file_that_has_another_size_by_now_is_not_read(server):
    with pytest.raises(CorruptFile, match="has 200,000 bytes and had 199,999"):
        read_ranges(place(server), [(0, 5)], Traffic(QUICK), 199_999)
    with pytest.raises(FileNotFoundError):
        read_ranges(place(server, "gone.bin"), [(0, 5)], Traffic(QUICK))


def test_tries_end_and_say_how_many_they_were(server):
    server.faults["file"] = [refuses(503)] * 10
    with pytest.raises(
        SourceError, match=r"answers 503 .* \(tried 4 times\); run the same command"
    ):
        read_ranges(place(server), [(0, 5)], Traffic(QUICK))
    assert server.requests["file"] == 4


def test_retry_after_in_seconds_is_waited_for(server):
    server.faults["file"] = [refuses(429, Retry_After="1")]
    started = time.monotonic()
    read_ranges(place(server), [(0, 5)], Traffic(QUICK))
    assert time.monotonic() - started >= 1
    server.faults["file"] = [refuses(503, Retry_After="3600")]
    with pytest.raises(SourceError, match="asks to wait 3,600 s"):
        read_ranges(place(server), [(0, 5)], Traffic(QUICK))


def test_other_requests_to_a_host_that_asks_for_rest_wait_too(server):
    traffic = Traffic(QUICK)
    server.faults["file"] = [refuses(429, Retry_After="1")]
    with pytest.raises(SourceError):
        read_ranges(place(server), [(0, 5)], Traffic(RemoteSettings(attempts=1)))
    traffic.pause("127.0.0.1", 0.5)
    started = time.monotonic()
    read_ranges(place(server), [(0, 5)], traffic)
    assert time.monotonic() - started >= 0.5


def test_a_request_that_gets_on_is_not_given_up(server, tmp_path):
    big = server.folder / "big.bin"
    big.write_bytes(DATA * 40)
    server.faults["file"] = [breaks(1_100_000)] * 6  # more than it may fail without getting on
    (block,) = read_ranges(place(server, "big.bin"), [(0, 8_000_000)], Traffic(QUICK))
    assert block == DATA * 40


def test_no_more_requests_at_once_than_allowed(tmp_path):
    (tmp_path / "a.bin").write_bytes(DATA)
    settings = RemoteSettings(connections=2)
    with FileServer(tmp_path, delay_s=0.1) as server:
        started = time.monotonic()
        read_ranges(place(server), [(n, n + 1) for n in range(8)], Traffic(settings))
        assert time.monotonic() - started >= 0.4


def test_long_ranges_are_asked_for_in_pieces(server, monkeypatch):
    monkeypatch.setattr("coyo_tools.machinery.ranges.MOST", 30_000)
    got = bytearray(len(DATA))

    def sink(position, chunk):
        assert threading.current_thread() is not threading.main_thread()
        got[position : position + len(chunk)] = chunk

    copy_ranges(place(server), [(0, len(DATA))], Traffic(QUICK), sink)
    assert bytes(got) == DATA
    assert sorted(start for _, start, _ in server.asked) == list(range(0, 200_000, 30_000))


def test_sizes_and_odd_names(server):
    traffic = Traffic(QUICK)
    odd = place(server, "odd%20%2520%20+%C3%A4.bin")
    assert web.size_of(odd, traffic) == len(DATA)
    assert read_ranges(odd, [(3, 5)], traffic) == [DATA[3:5]]
    assert web.size_of(place(server, "empty.bin"), traffic) == 0
    assert traffic.fetched().bytes == 3  # asking for the size takes one


def test_an_address_where_nothing_listens_is_given_up_soon():
    settings = RemoteSettings(attempts=50, pause_s=0.01)
    with pytest.raises(SourceError, match=r"Cannot connect to host .*tried 2 times"):
        read_ranges(Place("http://127.0.0.1:9/a", "a"), [(0, 5)], Traffic(settings))


def test_a_file_to_be_sought_in(server):
    with RangeFile(place(server), len(DATA), Traffic(QUICK)) as file:
        assert file.seek(-5, 2) == len(DATA) - 5
        assert file.read() == DATA[-5:]
        assert (file.seek(7), file.read(3), file.tell()) == (7, DATA[7:10], 10)
        assert file.read(0) == b""


def test_an_error_of_whoever_takes_the_bytes_ends_it(server):
    def full(_, __):
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        copy_ranges(place(server), RANGES, Traffic(QUICK), full)
