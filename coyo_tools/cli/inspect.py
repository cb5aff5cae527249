"""coyo inspect"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from coyo_tools.cli import show
from coyo_tools.cli.options import json_option, source_argument
from coyo_tools.cli.progress_lines import listener
from coyo_tools.words.config import DEFAULT_SOURCE
from coyo_tools.words.options import SCHEMA_CHOICES

if TYPE_CHECKING:
    from coyo_tools.verbs.inspect import InspectedColumn, Inspection

# Rules to go on with, the most usual first, with the columns that they read.
_USUAL = (
    ({"clip_similarity_vitl14"}, "--min-clip-l14 0.25"),
    ({"clip_similarity_vitb32"}, "--min-clip-b32 0.28"),
    ({"aesthetic_score_laion_v2"}, "--min-aesthetic 5"),
    ({"width", "height"}, "--min-side 256"),
    ({"id"}, "--sample 1%"),
)


@click.command(name="inspect")
@source_argument
@click.option(
    "--schema",
    type=click.Choice(SCHEMA_CHOICES),
    default="auto",
    show_default=True,
    help="Whose column names the source has; auto recognises them.",
)
@click.option(
    "--limit-files", type=click.IntRange(1), metavar="N", help="Look at the first N files only."
)
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    source: str | None,
    schema: str,
    limit_files: int | None,
    as_json: bool,
) -> None:
    """Show what a source holds: files, rows, columns, sizes, from footers alone.

    Exit status 1 where a file cannot be used: each is named, with the reason. Example:

      coyo inspect metadata
    """
    from coyo_tools.verbs.inspect import inspect

    result = inspect(
        source or DEFAULT_SOURCE, schema=schema, limit_files=limit_files, progress=listener()
    )
    if as_json:
        show.print_json(result.to_dict())
    else:
        _print(result)
    for note in result.notes:
        click.echo(f"note: {note}", err=True)
    for problem in result.problems:
        click.echo(f"coyo: {problem}", err=True)
    if not result.ok:
        ctx.exit(1)


def _print(result: Inspection) -> None:
    click.echo(_head(result))
    if result.columns:
        click.echo()
        head = ["column", "type", "nulls", ""]
        click.echo(show.table(head, [_row(c) for c in result.columns], left=(0, 1, 3)))
    click.echo()
    if result.ok:
        click.echo(show.following("coyo", "filter", result.source, "-o", "subset", *_rule(result)))
    else:
        noun = "file" if len(result.problems) == 1 else "files"
        click.echo(f"{len(result.problems)} {noun} of {result.files} cannot be used, see below")


def _rule(result: Inspection) -> list[str]:
    """A rule whose column every file has; the first file where there is none."""
    there = {column.name for column in result.columns if column.files == result.files}
    usual = (rule.split() for names, rule in _USUAL if names <= there)
    return next(usual, ["--limit-files", "1"])


def _head(result: Inspection) -> str:
    smallest, largest = (show.count(n) for n in result.row_group_rows)
    each = smallest if smallest == largest else f"{smallest} to {largest}"
    codecs = ", ".join(sorted(result.codecs)) or "none"
    rows = [
        ["source", result.source + (f", written by coyo {result.made_by}" * bool(result.made_by))],
        ["files", f"{show.count(result.files)}, {show.size(result.bytes)}, {codecs}"],
        ["rows", f"{show.count(result.rows)} in {show.count(result.row_groups)} row groups"],
        ["", f"of {each} rows"],
        ["names", result.schema if result.schema in ("mixed", "unknown") else f"{result.schema}'s"],
    ]
    if not result.row_groups:
        del rows[3]
    if result.revision:
        rows.append(["revision", result.revision])
    if result.fetched:
        rows.append(["", show.fetched(result.fetched)])
    return "\n".join(f"{name:<10}{value}" for name, value in rows)


def _row(column: InspectedColumn) -> list[str]:
    types = ", ".join(column.dtypes)
    renamed = [name for name in column.in_file if name != column.name]
    note = ", ".join([*(f"{name} in the file" for name in renamed), *filter(None, [column.note])])
    nulls = "" if not column.files else "?" if column.nulls is None else show.count(column.nulls)
    return [column.name, types, nulls, note]
