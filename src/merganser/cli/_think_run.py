"""`merganser think run`: how good a trained model is, and what stopping early saves and costs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from merganser.cli._output import Json, clear_errors, percent, plain_table, print_json, tables
from merganser.thinking import (
    CERTAINTIES,
    READOUTS,
    Calibration,
    HaltingPoint,
    Thinker,
    answers_of,
    calibration,
    halting_point,
    open_thinker,
    think_until,
)
from merganser.thinking.training import Samples, open_thinking


def run(
    folder: Annotated[
        Path, typer.Argument(help="The folder of a training.", metavar="DIR", show_default=False)
    ],
    readout: Annotated[
        str | None,
        typer.Option(
            help="How one answer is made of many ticks.",
            metavar="|".join(READOUTS),
            show_default="certain, of an LSTM instant",
        ),
    ] = None,
    halt: Annotated[float, typer.Option(help="Certainty at which a sample is done.", min=0.0, max=1.0)] = 0.8,
    halt_by: Annotated[
        str,
        typer.Option(
            help="Which certainty: the mean of all positions, or the least.", metavar="|".join(CERTAINTIES)
        ),
    ] = "mean",
    ticks: Annotated[
        int | None,
        typer.Option(help="How long it thinks at most.", min=1, show_default="as long as in training"),
    ] = None,
    samples: Annotated[int | None, typer.Option(help="Most test samples.", min=1, show_default="all")] = None,
    device: Annotated[str, typer.Option(help="Where to compute.")] = "cpu",
    as_json: Json = False,
) -> None:
    """Evaluate a trained model on its task's test samples: thinking to the end, and stopping when sure."""
    with clear_errors():
        trained = open_thinking(folder)
        model = open_thinker(trained.path).to(device)
        asked = Samples(*(part[:samples].to(device) for part in trained.task.test()))
        readout = readout or model.readout
        found = _evaluated(model, asked, readout, _Halt(halt, halt_by), ticks)
    if as_json:
        head = {"out": str(trained.folder), "task": trained.task.name, "samples": len(asked.inputs)}
        print_json({**head, "readout": readout, "halt_by": halt_by, **found.facts()})
    else:
        _show(found, halt_by)


class _Halt(NamedTuple):
    """When a sample is done."""

    threshold: float
    by: str


class _Found(NamedTuple):
    """What a model reached, thinking to the end and until sure; the shares of samples that are right throughout."""

    end: HaltingPoint
    end_whole: float
    halted: HaltingPoint
    halted_whole: float
    calibration: Calibration

    def facts(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "end": {**self.end._asdict(), "whole": self.end_whole},
            "halted": {**self.halted._asdict(), "whole": self.halted_whole},
            "calibration_error": self.calibration.error,
        }


def _evaluated(model: Thinker[Any], asked: Samples, readout: str, halt: _Halt, ticks: int | None) -> _Found:
    answers = answers_of(model, *asked, ticks=ticks)
    end = halting_point(answers.scores(readout), answers.certainties, None)
    end_whole = float(answers.scores(readout, whole=True)[:, -1].double().mean())
    probabilities = answers.probabilities(readout)[..., -1].flatten(0, 1)
    halted, halted_whole = _until_sure(model, asked, readout, halt, ticks)
    return _Found(end, end_whole, halted, halted_whole, calibration(probabilities, asked.targets.flatten()))


def _until_sure(
    model: Thinker[Any], asked: Samples, readout: str, halt: _Halt, ticks: int | None
) -> tuple[HaltingPoint, float]:
    """What thinking until sure gives: nothing is thought that is not used."""
    found = think_until(
        model, asked.inputs, threshold=halt.threshold, by=halt.by, readout=readout, ticks=ticks
    )
    right = found.probabilities.argmax(dim=2) == asked.targets
    used, most = float(found.ticks.double().mean()), ticks or model.config.ticks
    reached = float((found.certainties >= halt.threshold).double().mean())
    point = HaltingPoint(halt.threshold, float(right.double().mean()), used, 1 - used / most, reached)
    return point, float(right.all(dim=1).double().mean())


def _show(found: _Found, halt_by: str) -> None:
    numbers = ("accuracy", "all positions right", "ticks", "saved", "sure")
    table = plain_table("test", *numbers, right=numbers)
    end, halted = found.end, found.halted
    table.add_row("all ticks", percent(end.accuracy), percent(found.end_whole), f"{end.ticks:.0f}", "", "")
    where = " at the least certain position" if halt_by == "least" else ""
    table.add_row(
        f"halted at a certainty of {halted.threshold:g}{where}",
        percent(halted.accuracy),
        percent(found.halted_whole),
        f"{halted.ticks:.1f}",
        percent(halted.saved),
        percent(halted.reached),
    )
    tables.print(table)
    tables.print(f"expected calibration error: {percent(found.calibration.error)}")
