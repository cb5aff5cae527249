"""The shell: parse, call one function of the API, print. `main` is the `coyo` command.

Each command lives in the module of its name and is imported when it is called, so that
`coyo --help` loads none of the heavy packages. This table is the one list of commands.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import click

from coyo_tools.words.errors import CoyoError

COMMANDS: dict[str, str] = {
    "demo": "Try the whole way on bundled pictures served from this machine.",
    "inspect": "Show what a source holds: files, rows, columns, sizes, from footers alone.",
    "filter": "Keep the rows that pass your rules and show what each rule dropped.",
    "download": "Fetch the images of a subset into tar shards.",
    "score": "Recompute columns from the images and captions.",
    "compare": "Set recomputed columns against the published ones.",
    "report": "Draw one page that shows what was kept, fetched and found.",
}


class _Commands(click.Group):
    """A group whose commands are imported on use; errors become one sentence here."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        """The commands, in the order of the data's way."""
        return list(COMMANDS)

    def get_command(
        self,
        ctx: click.Context,
        cmd_name: str,  # noqa: ARG002  click's signature
    ) -> click.Command | None:
        """Import the module of that name and take its command."""
        if cmd_name not in COMMANDS:
            return None
        command = import_module(f"coyo_tools.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """An unknown command is answered with the nearest known one."""
        from coyo_tools.words.errors import nearest

        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            near = nearest(name, list(COMMANDS))
            hint = f" Did you mean {near}?" if near else " See coyo --help."
            raise click.UsageError(f"No command {name!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002  click's signature
        formatter: click.HelpFormatter,
    ) -> None:
        """The table above, in the order of the data's way, without importing a command."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="coyo-tools", prog_name="coyo")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def coyo(ctx: click.Context, debug: bool) -> None:
    """Turn COYO-700M metadata into the training set you need.

    A first look:  coyo demo
    """
    ctx.ensure_object(dict)["debug"] = debug


def main(args: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 a named error, 2 usage, 130 interrupted."""
    debug = "--debug" in (args if args is not None else sys.argv[1:])
    try:
        status: Any = coyo.main(
            args, prog_name="coyo", auto_envvar_prefix="COYO", standalone_mode=False
        )
    except click.exceptions.Exit as end:
        status = end.exit_code
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted; run the same command again to go on", err=True)
        status = 130
    except CoyoError as error:
        status = _tell(error, debug)
    except BrokenPipeError:
        status = _closed_pipe()
    sys.exit(status if isinstance(status, int) else 0)


def _tell(error: CoyoError, debug: bool) -> int:
    if debug:
        import traceback

        traceback.print_exception(error)
        details = getattr(error, "details", "")
        if details:
            click.echo(details, err=True)
    click.echo(f"coyo: {error}", err=True)
    return error.exit_status


def _closed_pipe() -> int:
    """Whoever read our output has gone (`coyo filter ... | head`): nothing to complain about."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
