"""What every command shares: where words go, where JSON goes, and what an error looks like."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from merganser._errors import ConfigError, MerganserError, NonFiniteOutputError

if TYPE_CHECKING:
    from merganser.run import Savings, Skill

FAILED, MISUSE, STOPPED = 1, 2, 130

OUTPUT_PANEL = "What comes out"

MODEL_FORMS = "path, hub id (`org/name@revision`), FILE.gguf, or `base+adapter`, which applies a LoRA"
TASK_FORMS = (
    "digits, shop, FILE.npz, a folder of arrays, questions (FILE.jsonl, .json, .csv, .tsv), a task file (.yaml), "
    "lm-eval:NAME, or module:function"
)
"""What a reference to a model or a task can be, for the help of options that take one."""

Json = Annotated[
    bool,
    typer.Option(
        "--json",
        help="End with one JSON object on the last line of the output.",
        rich_help_panel=OUTPUT_PANEL,
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.", rich_help_panel=OUTPUT_PANEL)]
Report = Annotated[bool, typer.Option(help="Write RUN/report.html at the end.", rich_help_panel=OUTPUT_PANEL)]

words = Console(stderr=True, highlight=False)
"""Everything meant for people goes to standard error."""

tables = Console(highlight=False, width=None if sys.stdout.isatty() else 1000)
"""Except what they asked for: tables go to standard output, wide where nobody's window limits them."""


def print_json(value: Any) -> None:
    """One JSON object on one line of standard output."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def plain_table(*columns: str, right: Collection[str] = ()) -> Table:
    """A table without lines.

    Args:
        columns: Their heads.
        right: Those of numbers, which stand at the right.
    """
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


@contextmanager
def clear_errors() -> Iterator[None]:
    """Turn expected errors into one message and an exit code: 2 for misuse, 1 for the rest."""
    try:
        yield
    except (ConfigError, ValueError) as error:
        _say(error)
        raise typer.Exit(MISUSE) from error
    except (MerganserError, NonFiniteOutputError) as error:
        _say(error)
        raise typer.Exit(FAILED) from error
    except KeyboardInterrupt as error:
        raise typer.Exit(STOPPED) from error


def say_far(model: str, length: float) -> None:
    """Notice that a model does not look like one that was tuned from the base."""
    words.print(
        f"{model}: its difference from the base is {length:.1f} times as long as the base itself. "
        "Was it tuned from another model?",
        soft_wrap=True,
    )


def percent(value: float | None) -> str:
    """A fraction for people.

    Examples:
        >>> percent(0.8125), percent(None)
        ('81.2 %', '–')
    """
    return "–" if value is None else f"{100 * value:.1f} %"


def by_cause(savings: Savings, total: int) -> str:
    """What saved which share of the sample evaluations of a naive loop, in brackets.

    Examples:
        >>> from merganser.run import Savings
        >>> by_cause(Savings(rejection=30, subsets=50, rescored=10), 200)
        ' (subsets 20.0 %, early rejection 15.0 %)'
        >>> by_cause(Savings(), 200)
        ''
    """
    causes = sorted(savings.causes.items(), key=lambda cause: -cause[1])
    parts = [f"{name} {percent(number / total)}" for name, number in causes]
    return f" ({', '.join(parts)})" if parts else ""


def with_interval(value: Any) -> str:
    """An interval for people.

    Examples:
        >>> with_interval((0.8, 0.75, 0.84))
        '80.0 % (75.0 to 84.0)'
    """
    if value is None:
        return "–"
    mean, low, high = (100 * v for v in value)
    return f"{mean:.1f} % ({low:.1f} to {high:.1f})"


def skills_table(skills: Sequence[Skill]) -> Table:
    """What became of each task on the test samples, beside the parent that is best at it."""
    figures = ("winner", "best parent", "change (95 %)")
    table = plain_table("task", *figures, right=figures)
    for skill in skills:
        name = f"{skill.task} (watched)" if skill.watched else skill.task
        parent = f"{skill.best} {percent(skill.parents[skill.best].value)}"
        table.add_row(escape(name), percent(skill.winner.value), escape(parent), with_interval(skill.change))
    return table


def _say(error: Exception) -> None:
    words.print("[bold red]error:[/] ", end="")
    words.print(str(error), markup=False, soft_wrap=True)
