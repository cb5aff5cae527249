"""`coyo score`: recompute columns from the images and captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from coyo_tools.cli import show
from coyo_tools.cli.options import (
    json_option,
    overwrite_option,
    progress_option,
    settings_from,
    settings_options,
)
from coyo_tools.cli.progress_lines import listener
from coyo_tools.words.config import ScoreSettings

if TYPE_CHECKING:
    from coyo_tools.verbs.score import ScoreResult


@click.command("score")
@click.argument("input", required=False, metavar="INPUT")
@click.option("-o", "--out", metavar="DIR", help="Folder to write; local, s3:// or gs://.")
@settings_options(ScoreSettings)
@click.option("--list", "list_columns", is_flag=True, help="Print every column and stop.")
@overwrite_option
@progress_option
@json_option
def command(
    input: str | None,
    out: str | None,
    list_columns: bool,
    overwrite: bool,
    progress_kind: str,
    as_json: bool,
    **values: Any,
) -> None:
    """Recompute columns of INPUT: a folder or glob of shards, or metadata for the text columns.

    Writes one parquet a shard: id, key, the columns, and error where a picture does not decode.
    Killed and run again, it goes on with the shards that are missing.

    \b
    Example:  coyo score shards -o scores -c image_phash -c num_tokens_bert
    """
    if list_columns:
        _list(as_json)
        return
    if input is None or out is None:
        missing = "argument 'INPUT'" if input is None else "option '-o'"
        raise click.UsageError(f"Missing {missing}.")
    from coyo_tools.verbs.score import score

    settings = settings_from(ScoreSettings, values)
    result = score(input, out, settings, overwrite=overwrite, progress=listener(progress_kind))
    if as_json:
        show.print_json(result.to_dict())
    else:
        tell(result)


def _list(as_json: bool) -> None:
    from coyo_tools.pieces.scores import listed

    rows = listed()
    if as_json:
        show.print_json(rows)
        return
    cells = [
        (r["column"], r["dtype"], f"[{r['extra']}]" if r["extra"] else "", r["meaning"])
        for r in rows
    ]
    click.echo(show.table(("column", "dtype", "extra", "meaning"), cells, left=(0, 1, 2, 3)))
    click.echo()
    for said, columns in _by_what_is_said(rows).items():
        click.echo(f"{', '.join(columns)}: {said}")


def _by_what_is_said(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Model, licence, weights and note, and the columns that this is said of."""
    found: dict[str, list[str]] = {}
    for row in rows:
        lines = [row["model"], f"  licence {row['licence']}; weights {row['weights'] or 'none'}"]
        lines += [f"  {row['note']}"] if row["note"] else []
        lines += [f"  -c {row['family']} {choice}" for choice in row.get("suggestions", ())]
        found.setdefault("\n".join(lines), []).append(row["column"])
    return found


def tell(result: ScoreResult) -> None:
    """Print a line for each column."""
    click.echo(_text(result))


def _text(result: ScoreResult) -> str:
    rows = [
        (c.name, show.count(c.values), show.count(c.nulls), _mean(c.mean)) for c in result.columns
    ]
    lines = [show.table(("column", "values", "nulls", "mean"), rows)]
    failed = sum(result.errors.values())
    if failed:
        classes = ", ".join(f"{name} {show.count(n)}" for name, n in result.errors.items())
        lines.append(f"{_many(failed, 'picture')} failed: {classes}")
    if result.seconds_by_column:
        spent = (f"{n} {show.seconds(s)}" for n, s in result.seconds_by_column.items())
        lines.append(f"time of all threads: {'; '.join(spent)}")
    lines += (_kept(result, encoder, kept) for encoder, kept in result.embedded.items())
    lines += _of_the_model(result)
    lines.append(_ending(result))
    return "\n".join(lines)


def _of_the_model(result: ScoreResult) -> list[str]:
    """What shortcuts changed, and how many pictures a model saw at once."""
    lines = [
        f"{name}: {'; '.join(filter(None, (_apart(apart), _lost(apart))))}"
        for name, apart in result.precision_difference.items()
    ]
    sizes = "; ".join(f"{name} {size}" for name, size in result.batch_sizes.items())
    return [*lines, f"batches of: {sizes}"] if sizes else lines


def _apart(apart: Mapping[str, float]) -> str:
    """How far rows are from what they would be without shortcuts."""
    if not apart["rows"]:
        return ""
    rows = _many(int(apart["rows"]), "row")
    return f"mean {apart['mean']:.2g}, largest {apart['largest']:.2g} from fp32 in the first {rows}"


def _lost(apart: Mapping[str, float]) -> str:
    """Rows whose value a shortcut took."""
    lost = int(apart.get("lost", 0))
    return f"no number in {_many(lost, 'row')} for which fp32 has one" if lost else ""


def _kept(result: ScoreResult, encoder: str, kept: Mapping[str, Any]) -> str:
    """A line on the embeddings of one encoder."""
    without = ""
    if kept["left_out"]:
        without = f", {show.count(kept['left_out'])} without picture or caption left out"
    rows = _many(kept["rows"], "row")
    if kept["dimensions"] is not None:
        rows += f" of {kept['dimensions']} numbers"
    return f"embeddings of {encoder}: {rows}{without}: {result.embeddings}"


def _ending(result: ScoreResult) -> str:
    spent = show.seconds(result.seconds)
    if result.rows_per_s is not None:
        spent = f"{result.rows_per_s:,.1f} rows/s, {spent}"
    said = "was complete already" if result.was_complete else spent
    done = f"{_many(result.rows, 'row')} of {_many(result.units, 'file')}, {said}: {result.out}"
    if not (result.rows and result.has_tables):
        return done
    following = show.following("coyo", "compare", result.out, result.input, "-o", "comparison")
    return f"{done}   {following}"


def _many(number: int, word: str) -> str:
    return f"{show.count(number)} {word}{'' if number == 1 else 's'}"


def _mean(mean: float | None) -> str:
    return "" if mean is None else f"{mean:,.6f}"
