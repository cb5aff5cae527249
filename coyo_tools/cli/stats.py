"""coyo stats"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from coyo_tools.cli import show
from coyo_tools.cli.options import (
    json_option,
    overwrite_option,
    settings_from,
    settings_options,
    source_argument,
)
from coyo_tools.cli.progress_lines import listener
from coyo_tools.words.config import DEFAULT_SOURCE, StatsSettings

if TYPE_CHECKING:
    from coyo_tools.verbs.stats import ColumnStats, StatsResult


@click.command(name="stats")
@source_argument
@click.option(
    "-o", "--out", metavar="DIR", help="Folder for stats.json and histograms for a later --top."
)
@click.option(
    "--keep",
    is_flag=True,
    help="Write them where --top looks by itself: SOURCE.stats; of a remote source, your cache.",
)
@settings_options(StatsSettings)
@overwrite_option
@json_option
def command(
    source: str | None,
    out: str | None,
    keep: bool,
    overwrite: bool,
    as_json: bool,
    **values: Any,
) -> None:
    """Show exact figures of every numeric column: nulls, min, mean, max, quantiles.

    A quantile is the smallest value that at least so many percent of the values do not exceed.
    Example:

      coyo stats metadata -o stats
    """
    from coyo_tools.verbs.stats import stats

    settings = settings_from(StatsSettings, values)
    result = stats(
        source or DEFAULT_SOURCE,
        out,
        settings,
        keep=keep,
        overwrite=overwrite,
        progress=listener(),
    )
    if as_json:
        show.print_json(result.to_dict())
    else:
        tell(result, keep=keep)


def tell(result: StatsResult, *, keep: bool) -> None:
    """Print a line a column and the next command. keep: the histograms are found by themselves."""
    for note in result.notes:
        click.echo(f"note: {note}", err=True)
    missing = any(column.nulls or column.nan for column in result.columns)
    quantiles = list(result.columns[0].quantiles) if result.columns else []
    head = ["column", *(["nulls", "NaN"] if missing else []), "min", "mean", "max"]
    rows = [_row(column, missing, quantiles) for column in result.columns]
    click.echo(show.table([*head, *(f"{q}%" for q in quantiles)], rows))
    if result.fetched:
        click.echo(show.fetched(result.fetched))
    place = f": {result.out}" if result.out else ""
    words = ["coyo", "filter", result.source, "-o", "subset", "--top", "30%", "--by", _by(result)]
    words += ["--stats", result.out] if result.out and not keep else []
    following = f"   {show.following(*words)}" if result.columns else ""
    click.echo(f"{show.count(result.rows)} rows, {show.seconds(result.seconds)}{place}{following}")


def _by(result: StatsResult) -> str:
    """A column to order by; "" where there is none."""
    names = [column.name for column in result.columns]
    usual = "clip_similarity_vitl14"
    return usual if usual in names else next(iter(names), "")


def _row(column: ColumnStats, missing: bool, quantiles: list[str]) -> list[str]:
    figures = [column.minimum, column.mean, column.maximum]
    absent = [show.count(column.nulls), show.count(column.nan)] if missing else []
    found = [column.quantiles.get(q) for q in quantiles]
    return [column.name, *absent, *(_figure(value) for value in [*figures, *found])]


def _figure(value: float | None) -> str:
    return "" if value is None else str(value) if isinstance(value, int) else f"{value:.4g}"
