"""`merganser route …`: keep models apart, and choose among them."""

from __future__ import annotations

import typer

from merganser.cli._route_layers import route_layers

app = typer.Typer(
    name="route",
    help="Keep models apart, and choose among them: layer by layer, or request by request.",
    no_args_is_help=True,
    add_completion=False,
)


@app.callback()
def _group() -> None:
    """Without this a group of one command is that command."""


app.command("layers")(route_layers)
