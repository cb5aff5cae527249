"""How `coyo download --census` shows what it found: tables of shares with their intervals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from coyo_tools.cli import show
from coyo_tools.words.failures import FAILURES, SUCCESS

if TYPE_CHECKING:
    from coyo_tools.pieces.census_figures import Figures, OfValues
    from coyo_tools.pieces.clusters import Estimate
    from coyo_tools.verbs.census import CensusResult

_HOSTS = 10  # shown; census.json has more


def tell_census(result: CensusResult) -> None:
    """Print shares, and what all urls would come to."""
    click.echo(_outcomes(result.figures))
    click.echo()
    click.echo(_hosts(result.figures))
    if result.figures.by_score:
        click.echo()
        click.echo(_scores(result.figures))
    click.echo()
    for word, said in _facts(result):
        click.echo(f"{word:<10}{said}")
    click.echo(
        f"asked {show.count(result.figures.urls)} urls in {show.seconds(result.figures.seconds)}: "
        f"{result.out}   " + show.following("coyo", "download", result.source, "-o", "shards")
    )


def _outcomes(found: Figures) -> str:
    from coyo_tools.pieces.census_figures import share

    lines = []
    for name, urls in found.outcomes.items():
        meaning = "alive: gave a picture" if name == SUCCESS else FAILURES[name].meaning
        lines.append([name, show.count(urls), *_share(share(urls, found.urls)), meaning])
    return show.table(["outcome", "urls", "share", "95 %", ""], lines, left=(0, 4))


def _share(found: Estimate) -> list[str]:
    """62.00 %, 61.05 to 62.94."""
    return [f"{100 * found.value:.2f} %", f"{100 * found.low:.2f} to {100 * found.high:.2f}"]


def _hosts(found: Figures) -> str:
    lines = [
        [host.host or "(none)", show.count(host.urls), *_share(host.alive), host.worst or ""]
        for host in found.hosts[:_HOSTS]
    ]
    head = [f"host ({show.count(found.hosts_seen)})", "urls", "alive", "95 %", "most often else"]
    return show.table(head, lines, left=(0, 4))


def _scores(found: Figures) -> str:
    """Share alive in each tenth of the urls by a score, lowest first; in % without a sign."""
    most = max(len(_with_values(cells)) for cells in found.by_score.values())
    lines = []
    for name, cells in found.by_score.items():
        shown = [f"{100 * cell.alive.value:.1f}" for cell in _with_values(cells)]
        lines.append([name, *shown, *[""] * (most - len(shown))])
    return show.table(["alive, % by score", *(f"{n}" for n in range(1, most + 1))], lines)


def _with_values(cells: tuple[OfValues, ...]) -> list[OfValues]:
    return [cell for cell in cells if cell.low is not None]


def _facts(result: CensusResult) -> Iterator[tuple[str, str]]:
    found, total = result.figures, result.expected
    yield "alive", "{} (95 %: {} %)".format(*_share(found.alive))
    yield "opt-outs", "{} (95 %: {} %)".format(*_share(found.opt_outs))
    yield "pictures", f"{show.interval(found.bytes_per_image, show.size)} fetched for each"
    yield "speed", f"{show.interval(found.images_per_s, lambda rate: f'{rate:,.1f}')} pictures/s"
    if found.drift:
        kinds = [f"{show.count(count)} {name}" for name, count in found.drift.items()]
        yield "drift", ", ".join(kinds)
    yield (
        "all",
        f"{show.count(result.different_urls)} different urls in {show.count(result.rows)} rows",
    )
    if total.pictures and total.bytes:
        hours = (
            show.interval(total.hours, lambda h: show.seconds(3600 * h))
            if total.hours
            else "unknown"
        )
        yield "", f"{show.interval(total.pictures, lambda n: show.count(round(n)))} pictures"
        yield (
            "",
            f"{show.interval(total.bytes, show.size)} to fetch, {hours} here with these settings",
        )
        yield "", f"{show.interval(result.disk, show.size)} of shards"
