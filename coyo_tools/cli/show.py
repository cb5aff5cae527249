"""What a person sees on stdout: aligned tables, figures with their units, JSON."""

from __future__ import annotations

import json
import math
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from coyo_tools.words.errors import beginning

if TYPE_CHECKING:
    from coyo_tools.machinery.traffic import Fetched
    from coyo_tools.pieces.clusters import Estimate


def print_json(document: Any) -> None:
    """Exactly one JSON document on stdout. NaN and infinities become null."""
    click.echo(json.dumps(_finite(document), indent=2, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, float) and (value != value or value in (float("inf"), -float("inf"))):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: Sequence[int] = (0,)) -> str:
    """Columns separated by three spaces; `left` names those aligned left, the rest are right."""
    lines = [list(head), *[list(row) for row in rows]]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join(
        "   ".join(
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def columns() -> int:
    """Characters to a line: the terminal's, or 100 where stdout is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 100


def rule(label: str) -> str:
    """A rule as a table names it: of a long list of conditions the beginning."""
    return beginning(label, 100)


def bar(share: float, width: int) -> str:
    """A share, 0 to 1, as a bar of at most `width` characters: blocks and their eighths on a
    terminal, else number signs. What is above 0 is seen."""
    share = min(max(share, 0.0), 1.0)
    if not (sys.stdout.isatty() and _can_print("█▏")):
        return "#" * max(round(share * width), share > 0)
    eighths = max(round(share * width * 8), int(share > 0))
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


def _can_print(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def count(number: int) -> str:
    """12,345."""
    return f"{number:,}"


def size(number: float) -> str:
    """Bytes in decimal units: 471.3 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(number) < 1000:
            return f"{number:,.0f} B" if unit == "B" else f"{number:,.1f} {unit}"
        number /= 1000
    return f"{number:,.2f} TB"


def fetched(counts: Fetched) -> str:
    """fetched 16.9 MB of 165.0 MB in 42 requests."""
    whole = f" of {size(counts.of)}" if counts.of else ""
    noun = "request" if counts.requests == 1 else "requests"
    again = f", {count(counts.repeated)} of them again" if counts.repeated else ""
    return f"fetched {size(counts.bytes)}{whole} in {count(counts.requests)} {noun}{again}"


def following(*words: object) -> str:
    """next: the command of these words, as a shell takes it."""
    return f"next: {shlex.join(map(str, words))}"


def seconds(number: float) -> str:
    """6.1 s, 4 min 10 s, 2 h 5 min."""
    if number < 60:
        return f"{number:.1f} s"
    minutes, rest = divmod(round(number), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def interval(estimate: Estimate, shown: Callable[[float], str]) -> str:
    """1.2 GB, or 1.2 GB (1.1 GB to 1.3 GB)."""
    if estimate.exact:
        return shown(estimate.value)
    if math.isinf(estimate.high):
        return f"{shown(estimate.value)} ({shown(estimate.low)} or more)"
    return f"{shown(estimate.value)} ({shown(estimate.low)} to {shown(estimate.high)})"
