"""Progress as it is shown: lines that are redrawn, a line a minute, or JSON lines; on stderr."""

from __future__ import annotations

import json
import math
import shutil
import sys
import time
from collections.abc import Callable

import click

from coyo_tools.cli import show
from coyo_tools.words.progress import Listener, Progress, silent

KINDS = ("auto", "plain", "json", "none")
PLAIN_EVERY_S = 60.0
JSON_EVERY_S = 1.0
_REDRAWN_EVERY_S = 0.1
_NAMED = 4  # failure classes and hosts on a line
Clock = Callable[[], float]


def listener(kind: str = "auto") -> Listener:
    """auto: redrawn lines where stderr is a terminal, else plain; plain: a line a minute; json: an
    object a line, about one a second; none."""
    match kind:
        case "none":
            return silent
        case "json":
            return JsonLines()
        case "auto" if sys.stderr.isatty():
            return Redrawn()
    return Plain()


def _echo(text: str) -> None:
    click.echo(text, nl=False, err=True)


class _Paced:
    """Passes on a step now and then, and always the last one. Speed and time left are reckoned from
    the first step on, because a run that goes on begins with what was there."""

    def __init__(self, every_s: float, out: Callable[[str], None], clock: Clock) -> None:
        self._every_s, self._out, self._clock = every_s, out, clock
        self._kind: tuple[str, str, int | None] = ("", "", None)
        self._first, self._started, self._drawn = 0, clock(), -math.inf
        self._ended = False

    def __call__(self, step: Progress) -> None:
        """Hear of a step."""
        now = self._clock()
        kind = (step.verb, step.unit, step.total)
        if kind != self._kind:
            self._kind = kind
            self._first, self._started, self._ended = step.done, now, False
        if step.news:
            self.say(step)
            return
        over = step.total is not None and step.done >= step.total
        if (now - self._drawn < self._every_s and not over) or (over and self._ended):
            return
        self._drawn, self._ended = now, over
        self.draw(step, over=over)

    def draw(self, step: Progress, *, over: bool) -> None:
        """Show it. over: it is the last one."""
        raise NotImplementedError

    def say(self, step: Progress) -> None:
        """Show its news: a line of their own."""
        self._out(f"{step.verb}: {step.news}\n")

    @property
    def elapsed_s(self) -> float:
        """Since the first step of this kind."""
        return self._drawn - self._started

    def rate(self, step: Progress) -> float:
        """Units a second; 0 where that is not known yet."""
        done = step.done - self._first
        return done / self.elapsed_s if self.elapsed_s > 0 and done > 0 else 0.0

    def left_s(self, step: Progress) -> float | None:
        """Seconds to go at this rate; None where unknown."""
        rate = self.rate(step)
        return (step.total - step.done) / rate if step.total is not None and rate else None

    def text(self, step: Progress) -> str:
        """download: 1,200 of 5,000 rows  3 min 5 s left  note."""
        of = f" of {step.total:,}" if step.total else ""
        left = self.left_s(step)
        parts = [f"{step.verb}: {step.done:,}{of} {step.unit}"]
        parts += [f"{show.seconds(left)} left"] if left is not None else []
        rate = self.rate(step)
        if step.note:
            parts.append(step.note)
        elif rate:
            parts.append(
                f"{rate:,.0f} {step.unit}/s" if rate >= 10 else f"{rate:.1f} {step.unit}/s"
            )
        return "  ".join(parts)


def _tops(step: Progress) -> list[str]:
    """The most frequent failures, and the hosts that cost most time."""
    rows = max(1.0, step.counts.get("rows", 0.0))
    errors = [
        f"{name} {number:,.0f} ({number / rows:.1%})"
        for name, number in step.tops.get("errors", ())
    ]
    hosts = [f"{host} {seconds:.1f} s" for host, seconds in step.tops.get("slowest_hosts", ())]
    lines = {"failed": errors[:_NAMED], "slowest": hosts[:_NAMED]}
    return [f"{word}: {', '.join(found)}" for word, found in lines.items() if found]


class Redrawn(_Paced):
    """Up to three lines of a terminal, drawn anew in their place, gone at the end."""

    def __init__(self, out: Callable[[str], None] = _echo, clock: Clock = time.monotonic) -> None:
        super().__init__(_REDRAWN_EVERY_S, out, clock)
        self._lines = 0

    def say(self, step: Progress) -> None:
        """Above what is drawn, which stays away until the next step."""
        up = f"\x1b[{self._lines - 1}A" if self._lines > 1 else ""
        self._lines, self._drawn = 0, -math.inf
        self._out(f"\r{up}\x1b[J")
        super().say(step)

    def draw(self, step: Progress, *, over: bool) -> None:
        """Over what was drawn before; a line that would wrap is cut."""
        width = shutil.get_terminal_size().columns - 1
        lines = [] if over else [self.text(step), *(f"  {line}" for line in _tops(step))]
        up = f"\x1b[{self._lines - 1}A" if self._lines > 1 else ""
        self._lines = len(lines)
        self._out(f"\r{up}\x1b[J" + "\n".join(line[:width] for line in lines))


class Plain(_Paced):
    """A line a minute, for logs; nothing of what takes less."""

    def __init__(self, out: Callable[[str], None] = _echo, clock: Clock = time.monotonic) -> None:
        super().__init__(PLAIN_EVERY_S, out, clock)
        self._drawn = clock()

    def draw(self, step: Progress, *, over: bool) -> None:
        """A line; the last step has none, because the result follows."""
        if not over:
            self._out("; ".join([self.text(step), *_tops(step)]) + "\n")


class JsonLines(_Paced):
    """An object a line: the step's fields, elapsed_s, rate (units/s), left_s (null: unknown)."""

    def __init__(self, out: Callable[[str], None] = _echo, clock: Clock = time.monotonic) -> None:
        super().__init__(JSON_EVERY_S, out, clock)

    def say(self, step: Progress) -> None:
        """At once, in the field `news`."""
        self._drawn = self._clock()
        self.draw(step, over=False)

    def draw(self, step: Progress, *, over: bool) -> None:
        """One line."""
        left = 0.0 if over else self.left_s(step)
        times = {"elapsed_s": self.elapsed_s, "rate": self.rate(step), "left_s": left}
        rounded = {name: None if v is None else round(v, 3) for name, v in times.items()}
        self._out(json.dumps(step.to_dict() | rounded) + "\n")
