"""What can be done with some models, how good each way is, and which one to take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from merganser.evaluation import Interval

Kind: TypeAlias = Literal["model", "merge", "contract", "router"]
KINDS: tuple[Kind, ...] = ("model", "merge", "contract", "router")
"""From the simplest to the least simple: of options that score the same the simpler one is taken."""


@dataclass(frozen=True)
class Option:
    """One way to answer requests.

    Attributes:
        name: What people call it.
        kind: What it is.
        members: Names of the models that it needs, which all must be kept.
        validation: Mean score on validation samples, by which options are chosen.
        test: Mean score on test samples.
        beside: Test score less that of the best single model, paired; None for that model itself.
        by_task: Mean test score by task.
        uses: For a contract the model of each task; for a router the share of test requests of each model.
    """

    name: str
    kind: Kind
    members: tuple[str, ...]
    validation: Interval
    test: Interval
    beside: Interval | None
    by_task: Mapping[str, float]
    uses: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "name": self.name,
            "kind": self.kind,
            "members": list(self.members),
            "validation": self.validation._asdict(),
            "test": self.test._asdict(),
            "beside": self.beside and self.beside._asdict(),
            "by_task": dict(self.by_task),
            "uses": dict(self.uses),
        }


@dataclass(frozen=True)
class Decision:
    """What to do with some models.

    Attributes:
        options: All ways that were tried.
        taken: Name of the one to take: the best on validation.
        best_model: Name of the best single model on validation.
        oracle: Test score of a router that always knew the best model of a request: no router can have more.
        tasks: Names of the tasks.
        samples: Number of samples by split.
        notes: What somebody who decides should know.
    """

    options: tuple[Option, ...]
    taken: str
    best_model: str
    oracle: Interval
    tasks: tuple[str, ...]
    samples: Mapping[str, int]
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Option:
        """The option of this name.

        Raises:
            KeyError: If there is none.
        """
        for option in self.options:
            if option.name == name:
                return option
        raise KeyError(f"No option {name!r}; there are {', '.join(each.name for each in self.options)}.")

    @property
    def words(self) -> tuple[str, ...]:
        """The decision as sentences."""
        taken = self[self.taken]
        value, low, high = taken.test
        said = [
            f"Take {_called(taken)}: {value:.1%} on test ({low:.1%} to {high:.1%}), the best on validation."
        ]
        if taken.beside is None:
            said.append("No merge, contract or router was better on validation: keep it simple.")
        else:
            gain, low, high = (100 * each for each in taken.beside)
            sure = (
                "beyond chance"
                if low > 0
                else "beyond chance, to the worse"
                if high < 0
                else "which may be chance"
            )
            said.append(
                f"Beside the best single model, {self.best_model}, that is {gain:+.1f} points ({low:+.1f} to "
                f"{high:+.1f}), {sure}."
            )
        return tuple(said)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "version": 1,
            "taken": self.taken,
            "best_model": self.best_model,
            "words": list(self.words),
            "options": [option.to_json() for option in self.options],
            "oracle": self.oracle._asdict(),
            "tasks": list(self.tasks),
            "samples": dict(self.samples),
            "notes": list(self.notes),
        }


def _called(option: Option) -> str:
    kinds = {
        "model": f"the model {option.name} alone",
        "merge": f"the merge {option.name}",
        "contract": "a model for each task, chosen by contract",
        "router": "the router of requests",
    }
    return kinds[option.kind]
