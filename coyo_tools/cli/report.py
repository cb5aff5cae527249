"""`coyo report`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from coyo_tools.cli.options import json_option, settings_from, settings_options
from coyo_tools.cli.progress_lines import listener
from coyo_tools.cli.show import following, print_json, size
from coyo_tools.words.config import ReportSettings

if TYPE_CHECKING:
    from coyo_tools.verbs.report import ReportResult


@click.command()
@click.argument("folders", nargs=-1, required=True, metavar="FOLDER...")
@click.option("-o", "--out", required=True, metavar="REPORT.html", help="Page to write.")
@settings_options(ReportSettings)
@json_option
def command(folders: tuple[str, ...], out: str, as_json: bool, **values: Any) -> None:
    """Draw one page about output folders: funnel, columns, download, scores, pictures.

    FOLDER... are folders that filter, download, score and compare wrote, or img2dataset's shards.
    The page is one file: it needs no network and no script.
    """
    from coyo_tools.verbs.report import report

    result = report(folders, out, settings_from(ReportSettings, values), progress=listener())
    if as_json:
        print_json(result.to_dict())
    else:
        tell(result)


def tell(result: ReportResult) -> None:
    """Print what the page has and where it is."""
    click.echo(f"{result.out}: {', '.join(result.sections).lower()}")
    opened = following("open", result.out)
    click.echo(f"{size(result.bytes)}, {result.pictures} pictures   {opened}")
