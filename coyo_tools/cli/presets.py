"""coyo presets"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import click

from coyo_tools.cli import show
from coyo_tools.cli.options import json_option, settings_from, settings_options
from coyo_tools.cli.progress_lines import listener
from coyo_tools.words.config import DEFAULT_SOURCE, OverlapSettings

if TYPE_CHECKING:
    from coyo_tools.pieces.recipes import Preset
    from coyo_tools.verbs.compare_presets import PresetOverlap


@click.command(name="compare")
@click.argument("presets", nargs=-1, required=True, metavar="PRESET|RECIPE.yaml... [SOURCE]")
@settings_options(OverlapSettings)
@json_option
def compare(presets: Sequence[str], as_json: bool, **values: Any) -> None:
    """Count the rows that each preset keeps of a source, and how they overlap.

    What follows the presets is the source. Nothing is written. Example:

      coyo presets compare safe laion2b-like mine.yaml metadata
    """
    from coyo_tools.verbs.compare_presets import compare_presets

    names, source = _told_apart(presets)
    settings = settings_from(OverlapSettings, values)
    found = compare_presets(names, source, settings, progress=listener())
    if as_json:
        show.print_json(found.to_dict())
    else:
        tell(found)


def _told_apart(given: Sequence[str]) -> tuple[Sequence[str], str]:
    """The presets, and the source where one is named last: what is neither preset nor recipe."""
    from coyo_tools.pieces.recipes import is_recipe_file, presets
    from coyo_tools.words.errors import nearest

    *first, last = given
    is_preset = last in presets() or is_recipe_file(last)
    misspelt = nearest(last, list(presets())) and not Path(last).exists()
    if is_preset or not first or misspelt:
        return given, DEFAULT_SOURCE
    return first, last


class _Presets(click.Command):
    """The command, with another one beneath it where no preset's name stands."""

    subcommands: ClassVar[dict[str, click.Command]] = {"compare": compare}

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """That of the command below, where it is named."""
        if args and args[0] in self.subcommands:
            below = self.subcommands[args[0]]
            return below.make_context(f"{info_name} {args[0]}", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


@click.command(name="presets", cls=_Presets)
@click.argument("name", required=False, metavar="[NAME]")
@json_option
def command(name: str | None, as_json: bool) -> None:
    """Show the presets: rules with a name, each with its paper and its numbers.

    Nobody has published an ablation on COYO itself: compare what they keep, with
    `coyo presets compare`. Example:

      coyo presets compare safe laion2b-like metadata
    """
    from coyo_tools.verbs.presets import presets

    found = presets(name)
    if as_json:
        show.print_json([preset.to_dict() for preset in found])
    elif name is None:
        click.echo(
            show.table(["preset", "rules"], [[p.name, _rules(p)] for p in found], left=(0, 1))
        )
        click.echo(
            "next: coyo presets NAME   coyo presets compare NAME NAME metadata   "
            "coyo filter -o subset --preset NAME"
        )
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


def tell(found: PresetOverlap) -> None:
    """Print the sizes, the pairs and what all of them have."""
    overlap = found.overlap
    sizes = [
        [each.name, show.count(each.rows), _percent(each.share), show.count(each.only)]
        for each in overlap.members
    ]
    click.echo(show.table(["preset", "rows kept", "of all", "only this one"], sizes))
    if overlap.pairs:
        pairs = [
            [f"{p.a}, {p.b}", show.count(p.both), *map(_percent, (p.of_a, p.of_b, p.jaccard))]
            for p in overlap.pairs
        ]
        click.echo()
        click.echo(show.table(["pair", "both", "of the first", "of the second", "Jaccard"], pairs))
    click.echo(
        f"in all {show.count(overlap.in_all)}, in any {show.count(overlap.in_any)} of "
        f"{show.count(overlap.rows)} rows, {show.seconds(found.seconds)}: {found.source}   "
        + show.following("coyo", "filter", found.source, "-o", "subset", "--preset", "NAME")
    )
    if found.fetched:
        click.echo(show.fetched(found.fetched))


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"
