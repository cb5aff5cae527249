"""`coyo demo`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import click

from coyo_tools.cli import show
from coyo_tools.cli.options import json_option
from coyo_tools.cli.progress_lines import listener

if TYPE_CHECKING:
    from coyo_tools.verbs.demo import DemoResult, DemoStep


@click.command(name="demo")
@click.argument("folder", required=False, default="coyo-demo", metavar="[DIR]")
@json_option
def command(folder: str, as_json: bool) -> None:
    """Try the whole way on bundled pictures served from this machine.

    About 60 real photographs, and urls that misbehave as the web's do, are filtered, downloaded,
    scored, compared and reported into DIR, ./coyo-demo unless named. No network is needed. Each
    command is printed as you would type it.
    """
    from coyo_tools.verbs.demo import demo

    tell = _silent if as_json else _tell
    result = demo(folder, progress=listener(), tell=tell)
    if as_json:
        show.print_json(result.to_dict())
    else:
        _close(result)


def _silent(_: DemoStep) -> None:
    """Nothing between the lines of one JSON document."""


def _tell(step: DemoStep) -> None:
    """The command line and, as that command prints it, what it gave."""
    click.echo(click.style(f"$ {step.line}", bold=True))
    import_module(f"coyo_tools.cli.{step.command}").tell(step.result)
    click.echo()


def _close(result: DemoResult) -> None:
    for note in result.notes:
        click.echo(note)
    click.echo(
        f"The pictures are real, and so is all that describes them and their captions; the CLIP, "
        f"NSFW, watermark\nand aesthetic scores of the demo's metadata are invented. "
        f"{show.count(result.requests)} requests, {show.seconds(result.seconds)} in all."
    )
    click.echo(f"\nOpen the page:  {result.report}\n\nThen, on COYO itself:")
    for line in result.next:
        click.echo(f"  {line}")
