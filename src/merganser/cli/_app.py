"""The commands, put together."""

from __future__ import annotations

from typing import Annotated

import typer

from merganser._version import __version__
from merganser.cli import _runs
from merganser.cli._evolve import evolve
from merganser.cli._merge import merge, methods, verify_merge
from merganser.cli._output import print_json
from merganser.run import settings_schema

app = typer.Typer(
    name="merganser",
    help="Grow a capable model out of models that already exist.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(evolve)
app.command()(merge)
app.command()(methods)
app.command("verify")(verify_merge)
app.add_typer(_runs.app, name="runs")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"merganser {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command()
def schema() -> None:
    """Print the JSON Schema of the evolve file, for editors."""
    print_json(settings_schema())


def main() -> None:
    """Entry point of the command."""
    app()
