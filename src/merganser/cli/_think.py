"""`merganser think …`: models that think about their inputs for a while, and stop when they are sure."""

from __future__ import annotations

import typer

from merganser.cli._think_run import run
from merganser.cli._think_solve import solve
from merganser.cli._think_train import train
from merganser.cli._think_watch import watch

app = typer.Typer(
    name="think",
    help="Models that think for a number of ticks (Continuous Thought Machines): trained, and stopped when sure.",
    no_args_is_help=True,
    add_completion=False,
)


app.command("train")(train)
app.command("watch")(watch)
app.command("run")(run)
app.command("solve")(solve)
