"""coyo run"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import click

from coyo_tools.cli import show
from coyo_tools.cli.options import json_option, overwrite_option
from coyo_tools.cli.progress_lines import listener

if TYPE_CHECKING:
    from coyo_tools.verbs.run import RunStep


@click.command(name="run")
@click.argument("recipe", metavar="RECIPE.yaml|manifest.json")
@click.option(
    "-o",
    "--out",
    metavar="DIR",
    help="Folder to write; default the recipe's name, or the manifest's folder and -again.",
)
@click.option("--source", metavar="SOURCE", help="In place of the source that the file names.")
@overwrite_option
@json_option
def command(
    recipe: str, out: str | None, source: str | None, overwrite: bool, as_json: bool
) -> None:
    """Run every stage of a recipe, or repeat a run from its manifest.

    Of a recipe, each stage writes a folder of its own: subset, shards, scores, comparison, and
    report.html. Run it again to go on where it stopped. Example:

      coyo run recipe.yaml -o mine
    """
    from coyo_tools.verbs.run import run

    result = run(
        recipe,
        out,
        source=source,
        overwrite=overwrite,
        progress=listener(),
        tell=_silent if as_json else _tell,
    )
    if as_json:
        show.print_json(result.to_dict())
    if result.differs:
        click.echo(f"note: not as the manifest says: {result.differs}", err=True)


def _silent(_: RunStep) -> None:
    """Nothing is printed between the stages."""


def _tell(step: RunStep) -> None:
    click.echo(f"== {step.command}: {step.out}")
    import_module(f"coyo_tools.cli.{step.command}").tell(step.result)
    click.echo()
