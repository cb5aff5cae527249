"""One line of docs/hostile.md."""

from __future__ import annotations

from dataclasses import dataclass

from tests.servers.raw import Behaviour

MAX_BYTES = 100_000
DEADLINE_S = 1.0
PLAIN = "http://img.example:{port}"
LATE = "no complete answer within {timeout} s"


@dataclass(frozen=True)
class Case:
    """One line of the table. name: also the path of the plain server that behaves so.

    error: the class, None for a success. message: what is recorded with it. url: a template, see
    `World.url`. anywhere: the url is also tried behind one and behind three redirects. crashes:
    it ends the process that decodes it, so it is tried in a run with one.
    """

    group: str
    name: str
    does: str
    error: str | None
    message: str | None
    behave: Behaviour | None = None
    url: str = ""
    anywhere: bool = False
    crashes: bool = False

    @property
    def template(self) -> str:
        """Where it is."""
        return self.url or f"{PLAIN}/{self.name}"
