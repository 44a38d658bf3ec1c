"""`merganser adapt …`: experts of a few kilobytes on one base."""

from __future__ import annotations

import typer

from merganser.cli._adapt_dispatch import dispatch
from merganser.cli._adapt_mix import mix
from merganser.cli._adapt_run import run
from merganser.cli._adapt_train import train_expert

app = typer.Typer(
    name="adapt",
    help="Experts of a few kilobytes on one base: trained, mixed, chosen for each request.",
    no_args_is_help=True,
    add_completion=False,
)


app.command("train")(train_expert)
app.command("mix")(mix)
app.command("dispatch")(dispatch)
app.command("run")(run)
