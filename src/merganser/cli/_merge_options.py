"""Options of `merganser merge`, and the panels that its help shows them in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from merganser.cli._output import MODEL_FORMS, TASK_FORMS

_HOW, _TUNING = "How", "Tuning parameters"
_ADAPTERS = "If all models are adapters of one base"

Models = Annotated[
    list[str],
    typer.Argument(
        help=f"Models, each a {MODEL_FORMS}; with --base the adapter alone will do. Or one mergekit file, *.yaml."
    ),
]
Method = Annotated[
    str | None,
    typer.Option("--method", "-m", help="How to merge: one of `merganser methods`.", show_default="linear"),
]
Base = Annotated[
    str | None,
    typer.Option("--base", "-b", help="The model the others were tuned from, if the method needs it."),
]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Folder, or .safetensors file, to write.")]
Donor = Annotated[
    str | None,
    typer.Option(
        help="Which model gives configuration and tokenizer.", show_default="the base, or the first"
    ),
]
Tokenizer = Annotated[
    str | None,
    typer.Option(
        help="Whose vocabulary, where they differ: union, base, or one of the models.",
        show_default="the donor's",
    ),
]
ChatTemplate = Annotated[
    str | None,
    typer.Option(
        help="auto (the commonest), a name such as chatml, or a Jinja text.", show_default="the donor's"
    ),
]
Statistics = Annotated[
    list[str] | None,
    typer.Option(
        help="What `merganser statistics` measured, for methods that need it; once for each model, in order."
    ),
]
Dtype = Annotated[
    str | None, typer.Option(help="Element type to write, such as bfloat16.", show_default="the donor's")
]
Licence = Annotated[
    str | None,
    typer.Option(help="Under which licence the result is.", show_default="the strictest of the models'"),
]
Seed = Annotated[int, typer.Option(help="Key of random numbers, for methods that drop at random.")]
As = Annotated[
    str,
    typer.Option(
        "--as",
        help="Whose formulas to follow for a mergekit file, where they differ: papers or mergekit.",
        metavar="papers|mergekit",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would be done, and stop.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output if it exists.")]

AsAdapter = Annotated[
    bool,
    typer.Option(
        "--as-adapter",
        help="Write an adapter (PEFT) instead of a whole model.",
        rich_help_panel=_ADAPTERS,
    ),
]
Rank = Annotated[
    int | None,
    typer.Option(
        help="Keep so many directions of every merged change, the largest.",
        show_default="all",
        rich_help_panel=_ADAPTERS,
    ),
]
Space = Annotated[
    str,
    typer.Option(
        help="full: whole tensors. core: the few directions that the adapters use; where a method looks at single "
        "weights (ties, dare) the result depends on that basis. auto: core for methods that give the same there.",
        metavar="auto|full|core",
        rich_help_panel=_ADAPTERS,
    ),
]

Tune = Annotated[
    str | None,
    typer.Option(
        help="Parameters to tune on a task first: lambda,density; with bounds lambda=0:3; weight:each for one "
        "value a model.",
        metavar="NAME[,NAME…]",
        rich_help_panel=_TUNING,
    ),
]
Task = Annotated[
    str | None,
    typer.Option(help=f"What to tune for: {TASK_FORMS}.", rich_help_panel=_TUNING),
]
Budget = Annotated[
    str | None,
    typer.Option(
        help="Merges to try, or a time such as 10m.",
        metavar="N|TIME",
        show_default="100",
        rich_help_panel=_TUNING,
    ),
]
Run = Annotated[
    Path | None,
    typer.Option(
        help="Run directory of the tuning; an interrupted run in it is resumed.",
        metavar="DIR",
        show_default="new, in runs/",
        rich_help_panel=_TUNING,
    ),
]

ShardSize = Annotated[str, typer.Option(help="Bytes a file may have: 500M, 5G.", rich_help_panel=_HOW)]
Workers = Annotated[
    int | None,
    typer.Option(help="Threads.", show_default="one per processor", rich_help_panel=_HOW, min=1),
]
Device = Annotated[str, typer.Option(help="Where to compute: cpu, cuda, cuda:1, mps.", rich_help_panel=_HOW)]
Digests = Annotated[
    bool,
    typer.Option(
        "--digests",
        help="Name the models by digest in the recipe: reads them once more.",
        rich_help_panel=_HOW,
    ),
]
