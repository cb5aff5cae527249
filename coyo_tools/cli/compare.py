"""`coyo compare`: recomputed columns against the published ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from coyo_tools.cli import show
from coyo_tools.cli.options import (
    json_option,
    out_option,
    overwrite_option,
    settings_from,
    settings_options,
)
from coyo_tools.cli.progress_lines import listener
from coyo_tools.words.config import CompareSettings

if TYPE_CHECKING:
    from coyo_tools.verbs.compare import Comparison

_HEAD = "column", "rows", "equal", "mean", "mean abs.", "p50 abs.", "p99 abs.", "largest", "r"
_FIRST = "an id: the first counts"
_DRIFT = {"same": "same picture", "drifted": "drifted", "replaced": "replaced"}


@click.command("compare")
@click.argument("scores", metavar="SCORES")
@click.argument("source", metavar="SOURCE")
@out_option
@settings_options(CompareSettings)
@overwrite_option
@json_option
def command(
    scores: str, source: str, out: str, overwrite: bool, as_json: bool, **values: Any
) -> None:
    """Set the columns of SCORES against those SOURCE stores, joined on id.

    SOURCE is the metadata, a subset or a shard folder. Differences are recomputed minus stored;
    image columns are split by whether the picture is still the same (its hash).

    \b
    Example:  coyo compare scores shards -o comparison

    \b
    In CI:    coyo compare scores shards -o comparison -c clip_similarity_vitl14 \\
                --max-mean-difference 0.001
    """
    from coyo_tools.verbs.compare import compare

    settings = settings_from(CompareSettings, values)
    found = compare(scores, source, out, settings, overwrite=overwrite, progress=listener())
    if as_json:
        show.print_json(found.to_dict())
    else:
        tell(found)
    if settings.max_mean_difference is not None:
        found.check(settings.max_mean_difference)


def tell(found: Comparison) -> None:
    """Print a line for each column, and where values differ why they may."""
    click.echo(_text(found))


def _text(found: Comparison) -> str:
    lines = []
    for name, column in found.columns.items():
        lines.append(_line(name, column))
        split = {k: v for k, v in column.get("by_drift", {}).items() if v["rows"]}
        if len(split) > 1:
            lines += [_line(f"  {_DRIFT.get(k, k)}", v) for k, v in split.items()]
    return "\n".join([show.table(_HEAD, lines), *_remarks(found), _ending(found)])


def _line(name: str, figures: Mapping[str, Any]) -> list[str]:
    equal = figures["equal"]
    return [
        name,
        show.count(figures["rows"]),
        "" if equal is None else f"{100 * equal:.2f} %",
        *(
            _number(figures.get(key))
            for key in (
                "mean_difference",
                "mean_absolute_difference",
                "p50_absolute_difference",
                "p99_absolute_difference",
                "largest_difference",
                "correlation",
            )
        ),
    ]


def _number(value: float | None) -> str:
    if value is None:
        return ""
    if isinstance(value, int):
        return show.count(value)
    return "0" if value == 0 else f"{value:.3g}" if abs(value) < 1e-4 else f"{value:,.4f}"


def _remarks(found: Comparison) -> list[str]:
    said = {
        "absent_from_source": ("scored row has", "scored rows have", "no row in SOURCE"),
        "without_id": ("scored row has", "scored rows have", "no id"),
        "duplicate_ids_in_scores": ("row of SCORES repeats", "rows of SCORES repeat", _FIRST),
        "duplicate_ids_in_source": ("row of SOURCE repeats", "rows of SOURCE repeat", _FIRST),
    }
    lines = [
        f"{show.count(found.rows[key])} {one if found.rows[key] == 1 else many} {what}"
        for key, (one, many, what) in said.items()
        if found.rows[key]
    ]
    notes = [f"{n}: {note}" for n, c in found.columns.items() for note in c["notes"]]
    return [*lines, *found.notes, *notes]


def _ending(found: Comparison) -> str:
    drift = ", ".join(f"{show.count(n)} {name}" for name, n in found.drift.items() if n)
    return (
        f"{show.count(found.rows['joined'])} rows joined; pictures: {drift}: {found.out}"
        f"   {show.following('coyo', 'report', found.out, '-o', 'report.html')}"
    )
