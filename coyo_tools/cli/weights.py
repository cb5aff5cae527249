"""`coyo weights`: the model files that scores need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from coyo_tools.cli import show
from coyo_tools.cli.options import json_option
from coyo_tools.cli.progress_lines import listener

if TYPE_CHECKING:
    from coyo_tools.verbs.weights import WeightsState


class _Weights(click.Group):
    """A group whose commands the references find as those below a command."""

    @property
    def subcommands(self) -> dict[str, click.Command]:
        return dict(self.commands)


@click.group("weights", cls=_Weights)
def command() -> None:
    """List, fetch and verify the model files that scores need.

    They lie in the cache (COYO_CACHE), or in the folder COYO_WEIGHTS_DIR, and then nothing is ever
    fetched. HF_ENDPOINT and HF_TOKEN are honoured. Example:

      coyo weights fetch aesthetic_score_laion_v2
    """


_names = click.argument("names", nargs=-1, metavar="[NAME]...")


@command.command("list")
@_names
@json_option
def list_(names: Sequence[str], as_json: bool) -> None:
    """Print every file: source, size, licence, and whether it is here."""
    from coyo_tools.verbs.weights import weights

    _tell(weights(names), as_json)


@command.command("fetch")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@json_option
def fetch(names: Sequence[str], as_json: bool) -> None:
    """Fetch files that are absent or wrong; what was interrupted is continued."""
    from coyo_tools.verbs.weights import fetch_weights

    _tell(fetch_weights(names, progress=listener()), as_json)


@command.command("verify")
@_names
@json_option
def verify(names: Sequence[str], as_json: bool) -> None:
    """Compare the files that are here with their sha256; exit status 1 where one is wrong."""
    from coyo_tools.verbs.weights import WRONG, verify_weights
    from coyo_tools.words.errors import WeightsError

    found = verify_weights(names)
    _tell(found, as_json)
    for each in (each for each in found if each.state == WRONG):
        raise WeightsError(each.note, where=each.path, todo=each.todo)


def _digest(each: WeightsState) -> str:
    if each.sha256 is None and each.git_blob is not None:
        return f"git {each.git_blob[:8]}"
    return each.sha256[:12] if each.sha256 else "not known"


def _tell(found: Sequence[WeightsState], as_json: bool) -> None:
    if as_json:
        show.print_json([each.to_dict() for each in found])
        return
    rows = [
        (
            each.name,
            "not known" if each.bytes is None else show.size(each.bytes),
            _digest(each),
            each.licence,
            each.state,
        )
        for each in found
    ]
    click.echo(show.table(("weights", "size", "sha256", "licence", ""), rows, left=(0, 2, 3, 4)))
    click.echo()
    for each in found:
        click.echo(f"{each.name}: {each.path or each.source}")
        click.echo(f"  for {', '.join(each.columns)}; {each.citation}")
