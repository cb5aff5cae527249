from __future__ import annotations

import asyncio
import time

import pytest

from coyo_tools.pieces import robots
from coyo_tools.pieces.robots import ALLOW_ALL, FORBID_ALL, opt_out, parse_robots

AGENT = "coyo-tools"


@pytest.mark.parametrize(
    ("headers", "directive"),
    [
        ([], None),
        (["noai"], "noai"),
        (["NoAI, NoImageAI"], "noai"),
        (["all", "noimageindex"], "noimageindex"),
        (["nofollow,noimageai"], "noimageai"),
        (["none"], "none"),
        (["nofollow, noarchive"], None),
        (["otherbot: noai"], None),
        (["otherbot: noai, noindex"], None),
        (["coyo-tools: noai"], "noai"),
        (["COYO-Tools: noindex"], "noindex"),
        (["otherbot: nofollow, coyo-tools: noai"], "noai"),
        (["*: noai"], "noai"),
        (["unavailable_after: 25 Jun 2030 15:00:00 PST, noai"], "noai"),
        (["max-image-preview: large"], None),
        (["max-image-preview: large, noindex"], "noindex"),
        ([""], None),
        ([":,,:"], None),
    ],
)
def test_opt_outs_are_read_as_they_are_scoped(headers, directive):
    assert opt_out(headers, AGENT) == directive


ROBOTS = """
# a comment
User-agent: otherbot
Disallow: /

User-agent: coyo-tools
User-agent: another
Disallow: /private/   # not this
Allow: /private/open
Disallow: /*.gif$
Disallow: /search?*q=

User-agent: *
Disallow: /everyone
"""


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/", True),
        ("/private/a.jpg", False),
        ("/private/open/a.jpg", True),
        ("/a.gif", False),
        ("/a.gif?x=1", True),
        ("/search?lang=en&q=1", False),
        ("/everyone", True),
    ],
)
def test_the_longest_match_of_the_own_group_decides(path, allowed):
    assert parse_robots(ROBOTS, AGENT).allows(path) is allowed


def test_who_is_not_named_obeys_the_group_for_all():
    assert not parse_robots(ROBOTS, "unnamed").allows("/everyone/x")


def test_allow_wins_a_tie_and_an_empty_disallow_forbids_nothing():
    assert parse_robots("User-agent: *\nDisallow: /a\nAllow: /a", AGENT).allows("/a")
    assert parse_robots("User-agent: *\nDisallow:", AGENT).allows("/a")


def test_all_and_nothing():
    assert ALLOW_ALL.allows("/x")
    assert not FORBID_ALL.allows("/x")


def test_a_pattern_of_many_stars_costs_nothing():
    rules = parse_robots("User-agent: *\nDisallow: /" + "*a" * 3000 + "b$", AGENT)
    started = time.monotonic()
    assert rules.allows("/" + "a" * 20_000)
    assert time.monotonic() - started < 5


async def test_an_origin_is_asked_once_while_its_answer_holds(monkeypatch):
    clock, asked = [1000.0], []

    async def ask(origin):
        asked.append(origin)
        await asyncio.sleep(0)
        return ALLOW_ALL, 60.0

    cache = robots.Cache(ask)
    monkeypatch.setattr(robots.time, "monotonic", lambda: clock[0])
    assert await asyncio.gather(*(cache.of("a") for _ in range(5))) == [ALLOW_ALL] * 5
    clock[0] += 59
    await cache.of("a")
    assert asked == ["a"]
    clock[0] += 2
    await cache.of("a")
    assert asked == ["a", "a"]
    await cache.close()


async def test_of_too_many_origins_the_oldest_are_asked_again(monkeypatch):
    monkeypatch.setattr(robots, "_REMEMBERED", 2)
    asked = []

    async def ask(origin):
        asked.append(origin)
        return ALLOW_ALL, 60.0

    cache = robots.Cache(ask)
    for origin in "abcca":
        await cache.of(origin)
    assert "".join(asked) == "abca"
    await cache.close()
