"""`merganser route …`: keep models apart, and choose among them."""

from __future__ import annotations

import typer

app = typer.Typer(
    name="route",
    help="Keep models apart, and choose among them: layer by layer, or request by request.",
    no_args_is_help=True,
    add_completion=False,
)
