"""What a server may do, and what the row of its url then says.

docs/hostile.md shows this list; tests/hostile/test_hostile.py tries every line of it.
"""

from __future__ import annotations

from tests.hostile.answers import redirect
from tests.hostile.case import PLAIN
from tests.hostile.images import PICTURES
from tests.hostile.places import ADDRESSES, NAMES, REDIRECTS, TLS
from tests.hostile.talk import BODIES, HEADERS, STATUSES
from tests.servers.raw import Behaviour, sends

CASES = ADDRESSES + NAMES + REDIRECTS + TLS + HEADERS + BODIES + STATUSES + PICTURES


def routes() -> dict[str, Behaviour]:
    """What the plain server does, by path."""
    found = {"/pong": sends(redirect("/ping"))}
    for case in CASES:
        if case.behave is not None:
            path = case.template.removeprefix(PLAIN)
            elsewhere = path.startswith(("/hop/", "http"))
            found[f"/{case.name}" if elsewhere else path] = case.behave
    return found


def targets() -> dict[str, str]:
    """Where `/hop/N/NAME` leads, as templates."""
    own = {case.name: f"{PLAIN}/{case.name}" for case in CASES}
    elsewhere = {case.name: case.url for case in CASES if case.anywhere}
    return own | elsewhere | {"rebinds": "http://rebinds.example:{tls}/x"}
