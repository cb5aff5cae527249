"""coyo push"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from coyo_tools.cli import show
from coyo_tools.cli.options import json_option, settings_from, settings_options
from coyo_tools.cli.progress_lines import listener
from coyo_tools.words.config import PushSettings

if TYPE_CHECKING:
    from coyo_tools.verbs.push import PushResult


@click.command(name="push")
@click.argument("folder", metavar="FOLDER")
@click.argument("repo", metavar="OWNER/NAME")
@settings_options(PushSettings)
@click.option("--dry-run", is_flag=True, help="Print the card and the files; send nothing.")
@click.option(
    "--overwrite", is_flag=True, help="Replace files that differ, delete parts that are gone."
)
@json_option
def command(
    folder: str, repo: str, dry_run: bool, overwrite: bool, as_json: bool, **values: Any
) -> None:
    """Publish a folder of metadata on the Hugging Face hub, with a dataset card.

    FOLDER is one that filter, score, dedup or decontaminate wrote. Run again after an
    interruption, it sends what is missing. Example:

      coyo push subset OWNER/NAME --private
    """
    from coyo_tools.verbs.push import push

    result = push(
        folder,
        repo,
        settings_from(PushSettings, values),
        dry_run=dry_run,
        overwrite=overwrite,
        progress=listener(),
    )
    if as_json:
        show.print_json(result.to_dict())
    else:
        tell(result)


def tell(result: PushResult) -> None:
    """Print where it is and what was sent; of a dry run the card and the files."""
    if result.dry_run:
        click.echo(result.card)
        rows = [[path, show.size(size)] for path, size in result.files.items()]
        click.echo(show.table(["file", "size"], rows))
        click.echo(f"nothing was sent: {len(rows)} files, {show.size(result.bytes)}")
        return
    sent = len(result.uploaded) + len(result.replaced)
    deleted = f", {len(result.deleted)} deleted" if result.deleted else ""
    noun = "commit" if len(result.commits) == 1 else "commits"
    click.echo(
        f"{sent} files sent, {show.size(result.bytes)}, in {len(result.commits)} {noun}; "
        f"{result.unchanged} there already{deleted}"
    )
    at = "" if result.revision == "main" else f', revision="{result.revision}"'
    click.echo(f'{result.url}   next: datasets.load_dataset("{result.repo}"{at})')
