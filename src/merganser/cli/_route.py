"""`merganser route …`: keep models apart, and choose among them."""

from __future__ import annotations

import typer

from merganser.cli import _route_requests
from merganser.cli._route_layers import route_layers

app = typer.Typer(
    name="route",
    help="Keep models apart, and choose among them: layer by layer, or request by request.",
    no_args_is_help=True,
    add_completion=False,
)


app.command("layers")(route_layers)
app.command("fit")(_route_requests.fit)
app.command("run")(_route_requests.run)
app.command("evaluate")(_route_requests.evaluate_route)
app.command("grade")(_route_requests.grade)
app.command("refit")(_route_requests.refit)
