"""`merganser adapt …`: experts of a few kilobytes for one base."""

from __future__ import annotations

import typer

from merganser.cli._adapt_train import train_expert

app = typer.Typer(
    name="adapt",
    help="Adapt one model to many tasks by experts of a few kilobytes.",
    no_args_is_help=True,
    add_completion=False,
)


@app.callback()
def _group() -> None:
    pass


app.command("train")(train_expert)
