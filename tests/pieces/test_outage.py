"""Hosts that are silent, or the network: every case told by hand, on a clock of our own."""

from __future__ import annotations

import pytest

from coyo_tools.pieces.asking_around import Asked, new_names
from coyo_tools.pieces.fetch import Fetched, Moved, Refused
from coyo_tools.pieces.outage import REMEMBERED, Watch, is_life, is_silence
from coyo_tools.words.failures import Failure

UNREACHABLE = Failure("connect", "network unreachable")
SILENT = Failure("dns", "name servers gave no answer")
LATE = Failure("timeout", "no complete answer within 10 s")
NOBODY = Asked(no_word=True)


def watch_of(*hosts: str, failure: Failure = UNREACHABLE, at: float = 100.0) -> Watch[str]:
    """One whose hosts have all failed a row."""
    watch: Watch[str] = Watch()
    fail(watch, *hosts, failure=failure, at=at)
    return watch


def fail(watch: Watch[str], *hosts: str, failure: Failure = UNREACHABLE, at: float = 100.0) -> None:
    for host in hosts:
        watch.is_silent(at, host, failure)
        watch.hold(at, failure, f"row of {host}")


def rows(held) -> list[str]:
    return [each.row for each in held]


def of(*hosts: str) -> list[str]:
    return [f"row of {host}" for host in hosts]


@pytest.mark.parametrize(
    ("answer", "lives", "silent"),
    [
        (Fetched(b"x"), True, False),
        (Moved("http://b.example/", 1, 0.1), True, False),
        (Refused(Failure("http_404")), True, False),
        (Refused(Failure("http_5xx"), 3.0), True, False),
        (Refused(Failure("tls", "handshake failed")), True, False),
        (Refused(Failure("connect", "refused")), True, False),
        (Refused(Failure("connect", "robots.txt: refused")), True, False),
        (Refused(UNREACHABLE), False, True),
        (Refused(Failure("connect", "reset")), False, True),
        (Refused(SILENT), False, True),
        (Refused(LATE), False, True),
        (Refused(LATE, reached=True), False, True),  # what came may have come long ago
        (Refused(Failure("truncated")), False, True),
        (Refused(Failure("no_such_host")), False, False),  # by heart, maybe
        (Refused(Failure("private_address")), False, False),
        (Refused(Failure("bad_url")), False, False),
        (Refused(Failure("internal")), False, False),
    ],
)
def test_what_speaks_for_a_network_and_what_against_it(answer, lives, silent):
    assert is_life(answer) == lives
    assert (isinstance(answer, Refused) and is_silence(answer.failure)) == silent


def test_a_row_is_its_host_s_to_blame_once_anybody_answers_well_after_it():
    watch = watch_of("a")
    watch.lives(100.9, "http://b.example/1")
    assert watch.settled().failed == []
    watch.lives(101.1, "http://b.example/2")
    verdict = watch.settled()
    assert (rows(verdict.failed), verdict.unsure) == (of("a"), [])
    assert not watch.has_doubts(200)


def test_it_asks_around_when_nobody_has_answered_for_a_while():
    watch = watch_of("a")
    assert not watch.has_doubts(100.5)
    assert watch.has_doubts(101)
    watch = Watch()  # rows that are to be tried again are not held; their hosts are silent still
    for host in ("a", "b", "b", "a"):
        watch.is_silent(100, host, LATE)
    assert not watch.has_doubts(200)
    watch.is_silent(100, "c", LATE)
    assert watch.has_doubts(101)
    watch.lives(101, "http://d.example/")
    assert not watch.has_doubts(200)


def test_several_hosts_and_no_name_server_are_an_outage():
    watch = watch_of("a", "b", "c", failure=SILENT)
    verdict = watch.judge(101, 104, NOBODY)
    assert (verdict.failed, verdict.unsure) == ([], [])
    assert (watch.gone_since, watch.outages) == (100.0, 1)
    assert rows(watch.take_back()) == of("a", "b", "c")
    assert watch.is_back(130) == 30
    assert watch.gone_since is None


def test_hosts_that_answered_before_and_are_all_silent_are_an_outage():
    watch = watch_of("a")
    watch.judge(101, 104, Asked(silent=frozenset(("b", "c"))))
    assert watch.gone_since == 100


@pytest.mark.parametrize(
    ("hosts", "failure", "found"),
    [
        (("a", "b"), SILENT, NOBODY),  # too few
        (("a:1", "a:2", "a:3"), SILENT, NOBODY),  # one machine
        (("a",), LATE, Asked(silent=frozenset(("a",)), no_word=True)),  # the only mirror
        (("a", "b", "c", "d"), UNREACHABLE, Asked()),  # addresses, and nobody to ask
        (("a", "b", "c", "d"), LATE, NOBODY),  # names from a file: no name server is needed
        (("a", "b", "c", "d"), LATE, Asked(silent=frozenset("e"), no_word=True)),  # e alone
    ],
)
def test_where_nobody_can_tell_it_is_the_hosts(hosts, failure, found):
    watch = watch_of(*hosts, failure=failure)
    verdict = watch.judge(101, 104, found)
    assert (rows(verdict.failed), verdict.unsure) == (of(*hosts), [])
    assert watch.gone_since is None
    assert not watch.has_doubts(200)


@pytest.mark.parametrize("failure", [LATE, UNREACHABLE, SILENT])
def test_dead_hosts_are_no_outage_while_anybody_answers(failure):
    hosts = [f"h{n}" for n in range(50)]
    watch = watch_of(*hosts, failure=failure)
    verdict = watch.judge(101, 101.2, Asked(answered=True))
    # Another try of those that cost nothing, lest there was an outage of two seconds.
    assert rows(verdict.failed if failure is LATE else verdict.unsure) == of(*hosts)
    assert watch.outages == 0


def test_hosts_that_are_silent_between_answers_are_not_tried_again():
    watch: Watch[str] = Watch()
    for n in range(20):
        fail(watch, f"h{n}", at=100 + n)
        watch.lives(100.5 + n, "http://b.example/")
    watch.lives(130, "http://b.example/")
    assert len(watch.settled().failed) == 20


def test_rows_that_failed_while_nobody_answered_at_first_are_tried_again():
    watch = watch_of("a", "b", "c", failure=LATE)
    verdict = watch.judge(101, 103.5, Asked(answered=True))
    assert (verdict.failed, rows(verdict.unsure)) == ([], of("a", "b", "c"))


@pytest.mark.parametrize(
    ("at", "again"),
    [
        (98.5, False),  # well before everybody was silent
        (99.5, True),  # answers that came before were heard after it
        (103.0, True),  # asked for in the silence
        (114.0, True),  # the silence, a try of ten seconds
        (115.0, False),
    ],
)
def test_a_row_that_fails_around_a_silence_of_all_hosts_is_tried_again(at: float, again: bool):
    watch: Watch[str] = Watch(longest_try_s=10)
    heard = "http://c.example/"
    if at < 100:
        fail(watch, "odd", failure=SILENT, at=at)
        watch.lives(at + 0.1, heard)
    fail(watch, "a", "b", "c", failure=LATE)
    watch.lives(103, heard)  # there was no network for three seconds, and nobody noticed
    if at >= 103:
        fail(watch, "odd", failure=SILENT, at=at)
    watch.lives(130, heard)
    verdict = watch.settled()
    assert ("row of odd" in rows(verdict.unsure)) == again
    assert ("row of odd" in rows(verdict.failed)) == (not again)


def test_what_fails_around_a_short_silence_has_failed():
    watch: Watch[str] = Watch(longest_try_s=10)
    fail(watch, "a", "b", "c", failure=LATE)
    watch.lives(100.9, "http://c.example/")
    fail(watch, "odd", failure=SILENT, at=101)
    watch.lives(130, "http://c.example/")
    assert rows(watch.settled().failed) == of("a", "b", "c", "odd")


def test_an_answer_while_it_asks_counts_and_later_failures_wait():
    watch = watch_of("a")
    fail(watch, "b", at=102)
    watch.lives(103, "http://c.example/")
    assert rows(watch.judge(101, 103, NOBODY).failed) == of("a")
    assert rows(watch.take_back()) == of("b")


def test_it_remembers_the_last_hosts_that_answered_and_does_not_look_at_each():
    watch: Watch[str] = Watch()
    watch.lives(0.5, "http://x.example/1")
    for n in range(REMEMBERED):
        watch.lives(n + 2, f"http://h{n}.example:81/1")
    watch.lives(REMEMBERED + 1.05, "http://never.example/1")
    watch.lives(20, "https://h0.example/2")
    assert watch.witnesses == [
        *(f"http://h{n}.example:81/1" for n in range(1, REMEMBERED)),
        "https://h0.example/2",
    ]


def test_hosts_that_answer_in_step_are_all_remembered():
    """Every so often the same one is the first to answer."""
    watch: Watch[str] = Watch()
    for n in range(20):
        for host in "abc":
            watch.lives(n * 0.11, f"http://{host}.example/{n}")
    assert watch.witnesses == [f"http://{host}.example/19" for host in "abc"]


def test_names_that_nobody_has_are_under_the_hosts_domains():
    hosts = ["a.example.com", "b.com", "img.example.de", "127.0.0.1", "0x7f.1", "[2001:db8::1]",
             "localhost", "printer.local", "x.onion", "a.b_c", "müller.ü"]  # fmt: skip
    names = new_names(hosts)
    assert [name.rpartition(".")[2] for name in names] == ["com", "de"]
    assert len({name.partition(".")[0] for name in names + new_names(hosts)}) == 4
    assert new_names(["xn--e1afmkfd.xn--p1ai"])[0].endswith(".xn--p1ai")
    assert len(new_names(["a.com", "a.net", "a.org"])) == 2
