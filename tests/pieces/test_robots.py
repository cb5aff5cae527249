from __future__ import annotations

import asyncio
import time

import pytest

from coyo_tools.pieces import robots
from coyo_tools.pieces.robots import ALLOW_ALL, FORBID_ALL, agents_in, opt_out, parse_robots

AGENTS = {"coyo-tools"}


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
        (["unavailable_after: Wed, 03 Jan 2034 10:00:00 GMT, noai"], "noai"),
        (["unavailable_after: Wednesday, 03-Jan-34 10:00:00 GMT, noai"], "noai"),
        (["otherbot: unavailable_after: Wed, 03 Jan 2034 10:00:00 GMT, noai"], None),
        (["googlebot-news: noai", "bot_2.x: noindex"], None),
        (["max-image-preview: large"], None),
        (["max-image-preview: large, noindex"], "noindex"),
        ([""], None),
        ([":,,:"], None),
    ],
)
def test_opt_outs_are_read_as_they_are_scoped(headers, directive):
    assert opt_out(headers, AGENTS) == directive


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
    assert parse_robots(ROBOTS, AGENTS).allows(path) is allowed


def test_who_is_not_named_obeys_the_group_for_all():
    assert not parse_robots(ROBOTS, {"unnamed"}).allows("/everyone/x")


def test_allow_wins_a_tie_and_an_empty_disallow_forbids_nothing():
    assert parse_robots("User-agent: *\nDisallow: /a\nAllow: /a", AGENTS).allows("/a")
    assert parse_robots("User-agent: *\nDisallow:", AGENTS).allows("/a")


# A pattern, and a path that it forbids; among them the examples of RFC 9309, 2.2.2 and 2.2.3.
@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("/%7Ejoe/", "/~joe/a"),
        ("/~joe/", "/%7ejoe/a"),
        ("/a%2Cb/", "/a,b/c"),
        ("/a%2Cb/", "/a%2Cb/c"),
        ("/a,b/", "/a%2cb/c"),
        ("/ü/", "/%C3%BC/a"),
        ("/%c3%bc/", "/ü/a"),
        ("/%70riv/", "/priv/a"),
        ("/foo/bar?baz=https://foo.bar", "/foo/bar?baz=https%3A%2F%2Ffoo.bar"),
        ("/foo/bar/\U0001f984", "/foo/bar/%F0%9F%A6%84"),
        ("/path/file-with-a-%2A.html", "/path/file-with-a-*.html"),
        ("/path/foo-%24", "/path/foo-$"),
        ("/a b", "/a%20b"),
        ("/a$b", "/a$b"),
        ("/%", "/%"),
        ("/%zz", "/%zz"),
    ],
)
def test_a_path_is_forbidden_however_it_is_spelled(pattern, path):
    assert not parse_robots(f"User-agent: *\nDisallow: {pattern}", AGENTS).allows(path)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("/a%2Fb", "/a/b"),
        ("/a/b", "/a%2Fb"),
        ("/a%2Ab", "/axb"),
        ("/a%3Fb", "/a?b"),
        ("/a%24", "/a"),
    ],
)
def test_what_is_escaped_to_mean_something_else_is_something_else(pattern, path):
    assert parse_robots(f"User-agent: *\nDisallow: {pattern}", AGENTS).allows(path)


@pytest.mark.parametrize(
    ("user_agent", "tokens"),
    [
        ("coyo-tools/0.1 (+https://github.com/x/y)", {"coyo-tools"}),
        ("MyBot", {"mybot"}),
        ("mybot/1.0", {"mybot"}),
        (
            "Mozilla/5.0 (compatible; MyBot/1.0; +https://example.org/a)",
            {"mozilla", "mybot"},
        ),
        ("me (+me@example.org)", {"me"}),
    ],
)
def test_the_names_we_go_by(user_agent, tokens):
    assert agents_in(user_agent) == tokens


def test_each_of_our_names_is_obeyed():
    both = {"coyo-tools", "mybot"}
    text = "User-agent: mybot\nAllow: /\n\nUser-agent: coyo-tools\nDisallow: /private"
    assert not parse_robots(text, both).allows("/private")
    assert parse_robots(text, both).allows("/a")
    assert not parse_robots("User-agent: MyBot\nDisallow: /", both).allows("/a")
    assert opt_out(["mybot: noai"], both) == "noai"


def test_all_and_nothing():
    assert ALLOW_ALL.allows("/x")
    assert not FORBID_ALL.allows("/x")


def test_a_pattern_of_many_stars_costs_nothing():
    rules = parse_robots("User-agent: *\nDisallow: /" + "*a" * 3000 + "b$", AGENTS)
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
