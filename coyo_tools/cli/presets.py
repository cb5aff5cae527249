"""coyo presets"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import click

from coyo_tools.cli import show
from coyo_tools.cli.options import json_option

if TYPE_CHECKING:
    from coyo_tools.pieces.recipes import Preset


@click.command(name="presets")
@click.argument("name", required=False, metavar="[NAME]")
@json_option
def command(name: str | None, as_json: bool) -> None:
    """Show the presets: rules with a name, each with its paper and its numbers.

    Nobody has published an ablation on COYO itself: compare what they keep. Example:

      coyo filter metadata -o subset --preset safe
    """
    from coyo_tools.verbs.presets import presets

    found = presets(name)
    if as_json:
        show.print_json([preset.to_dict() for preset in found])
    elif name is None:
        click.echo(
            show.table(["preset", "rules"], [[p.name, _rules(p)] for p in found], left=(0, 1))
        )
        click.echo("next: coyo presets NAME   coyo filter -o subset --preset NAME")
    else:
        click.echo(_whole(found[0]))


def _rules(preset: Preset) -> str:
    from coyo_tools.pieces.rules import rules_of

    return ", then ".join(rule.label for rule in rules_of(preset.rules))


def _whole(preset: Preset) -> str:
    import yaml

    said = [("", preset.about), ("source", preset.paper), ("numbers", preset.numbers)]
    lines = [preset.name]
    for head, text in said:
        lines += textwrap.wrap(text, 96, initial_indent=f"{head:<10}", subsequent_indent=" " * 10)
    written = yaml.safe_dump(
        {"filter": [dict(rule) for rule in preset.rules]}, sort_keys=False, width=96
    )
    return "\n".join([*lines, "", written + f"next: coyo filter -o subset --preset {preset.name}"])
