"""`coyo download`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from coyo_tools.cli import show
from coyo_tools.cli.options import (
    json_option,
    out_option,
    overwrite_option,
    progress_option,
    settings_from,
    settings_options,
)
from coyo_tools.cli.progress_lines import listener
from coyo_tools.words.config import CensusSettings, DownloadSettings, options_of
from coyo_tools.words.failures import FAILURES

if TYPE_CHECKING:
    from coyo_tools.verbs.census import CensusResult
    from coyo_tools.verbs.download import DownloadResult


@click.command(name="download")
@click.argument("subset")
@out_option
@settings_options(DownloadSettings)
@click.option(
    "--retry-failed",
    is_flag=True,
    help="Fetch again the rows of finished shards whose failure may have passed.",
)
@click.option(
    "--census",
    type=click.IntRange(1),
    metavar="N",
    help=options_of(CensusSettings)["urls"].help,
)
@click.option(
    "--census-seed",
    type=click.IntRange(0),
    metavar="N",
    default=CensusSettings().seed,
    show_default=True,
    help=options_of(CensusSettings)["seed"].help,
)
@overwrite_option
@progress_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    subset: str,
    out: str,
    retry_failed: bool,
    census: int | None,
    census_seed: int,
    overwrite: bool,
    progress_kind: str,
    as_json: bool,
    **values: Any,
) -> None:
    """Fetch the images of SUBSET into tar shards, every row accounted for.

    The shards are laid out as img2dataset's, so that its readers work unchanged. Run it again
    to go on where it stopped.

        coyo download subset -o shards --image-size 256

    With --census, no shards: what came of some urls, and what all of them would come to.

        coyo download subset -o census --census 10000
    """
    settings = settings_from(DownloadSettings, values)
    if census is not None:
        if retry_failed:
            raise click.UsageError("--retry-failed does not go with --census.")
        if settings.engine != "coyo":
            raise click.UsageError("--engine does not go with --census.")
        from coyo_tools.verbs import census as verb

        wanted = CensusSettings(census, census_seed)
        heard = listener(progress_kind)
        _tell_census(
            verb.census(subset, out, wanted, settings, overwrite=overwrite, progress=heard), as_json
        )
        return
    if ctx.get_parameter_source("census_seed") is ParameterSource.COMMANDLINE:
        raise click.UsageError("--census-seed goes with --census.")
    from coyo_tools.verbs.download import download

    result = download(
        subset,
        out,
        settings,
        overwrite=overwrite,
        retry_failed=retry_failed,
        progress=listener(progress_kind),
    )
    if as_json:
        show.print_json(result.to_dict())
    else:
        tell(result)


def _tell_census(result: CensusResult, as_json: bool) -> None:
    from coyo_tools.cli.show_census import tell_census

    if as_json:
        show.print_json(result.to_dict())
    else:
        tell_census(result)


def tell(result: DownloadResult) -> None:
    """Print the outcomes by class and what was stored."""
    lines = [["success", show.count(result.successes), _share(result.successes, result.rows), ""]]
    for error, count in result.by_error.items():
        meaning = FAILURES[error].meaning if error in FAILURES else ""
        lines.append([error, show.count(count), _share(count, result.rows), meaning])
    lines.append(["all rows", show.count(result.rows), "", ""])
    click.echo(show.table(["outcome", "rows", "share", ""], lines, left=(0, 3)))
    for line in _drift(result):
        click.echo(line)
    rate = result.rows / result.seconds if result.seconds else 0.0
    shards = "1 shard" if result.shards == 1 else f"{show.count(result.shards)} shards"
    click.echo(
        f"stored {show.count(result.successes)} pictures in {shards}, "
        f"{show.size(result.bytes)}, {show.seconds(result.seconds)} ({rate:,.0f} rows/s): "
        f"{result.out}   {_following(result)}"
    )


def _following(result: DownloadResult) -> str:
    """The next commands; the same one again where failures may have passed."""
    following = show.following("coyo", "score", result.out, "-o", "scores", "-c", "image_phash")
    passing = sum(
        n for error, n in result.by_error.items() if error in FAILURES and FAILURES[error].retry
    )
    if not passing:
        return following
    rows = "1 row" if passing == 1 else f"{show.count(passing)} rows"
    again = f"or the same download with --retry-failed, for {rows} whose failure may have passed"
    return f"{following}   {again}"


def _drift(result: DownloadResult) -> Iterator[str]:
    if result.drift is None or result.placeholders is None:
        return
    kinds = [f"{show.count(rows)} {name}" for name, rows in result.drift.items() if rows]
    yield f"drift: {', '.join(kinds) or 'no picture'}"
    if hosts := result.placeholders["hosts"]:
        named = ", ".join(f"{each['host']} {show.count(each['rows'])}" for each in hosts[:5])
        yield f"placeholders, listed in placeholders.pq: most on {named}"
    shared = result.placeholders.get("undecided", {"rows": 0})
    if shared["rows"]:
        yield (
            f"{show.count(shared['rows'])} rows without a published hash (image_phash) show "
            f"pictures that 3 rows or more share, {show.count(shared['pictures'])} in all: which "
            "are placeholders is not to be told without one; the largest are in manifest.json"
        )


def _share(count: int, rows: int) -> str:
    return f"{count / rows:.2%}" if rows else ""
