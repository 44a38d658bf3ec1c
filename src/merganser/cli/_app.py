"""The commands, put together; each is imported when it is called, so that none waits for the others' libraries."""

from __future__ import annotations

import importlib
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from merganser._version import __version__

_COMMANDS = {
    "compare": ("_compare", "compare_models"),
    "series": ("_series", "series"),
    "merge": ("_merge", "merge"),
    "methods": ("_methods", "methods"),
    "statistics": ("_statistics", "statistics"),
    "verify": ("_verify", "verify_merge"),
    "explain": ("_explain", "explain_merge"),
    "generate": ("_generate", "generate"),
    "recipe": ("_recipe", "recipe"),
    "citation": ("_citation", "citation"),
    "evaluate": ("_evaluate", "evaluate_models"),
    "evolve": ("_evolve", "evolve"),
    "route": ("_route", "app"),
    "adapt": ("_adapt", "app"),
    "think": ("_think", "app"),
    "runs": ("_runs", "app"),
    "schema": ("_evolve", "schema"),
}
"""Module and function, or group of commands, by name."""

_SETTINGS: dict[str, Any] = {
    "pretty_exceptions_enable": False,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}


class LazyGroup(TyperGroup):
    """Commands that are imported when somebody asks for them."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        """All names, in the order of the table."""
        return list(_COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        """Import a command; None if there is none of that name."""
        if cmd_name not in _COMMANDS:
            return None
        module, name = _COMMANDS[cmd_name]
        found = getattr(importlib.import_module(f"merganser.cli.{module}"), name)
        if not isinstance(found, typer.Typer):
            single = typer.Typer(add_completion=False, **_SETTINGS)
            single.command(cmd_name)(found)
            found = single
        command = typer.main.get_command(found)
        command.name = cmd_name
        return command


app = typer.Typer(
    name="merganser",
    help="Grow a capable model out of models that already exist.",
    no_args_is_help=True,
    cls=LazyGroup,
    **_SETTINGS,
)


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


def main() -> None:
    """Entry point of the command."""
    app()
