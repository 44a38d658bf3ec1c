"""Some questions of the test with what the parents and the winner answered: what changed, as people read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from merganser.evaluation import Graded, Mixture, Task, TextTask
from merganser.evolution import Genome
from merganser.run._plan import Plan
from merganser.run._runners import reason_of

_EACH = 3
"""Questions of each kind: won over all parents, lost to one of them, and neither."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A question of the test and its answers.

    Attributes:
        task: Name of its task.
        question: What was asked.
        expected: The right answer; empty where there is none to compare with.
        answers: What each model answered, by name, the winner last.
    """

    task: str
    question: str
    expected: str
    answers: Mapping[str, Graded]

    def to_json(self) -> dict[str, Any]:
        """Plain form."""
        answers = {
            name: {"score": given.score, "response": given.response, "reason": given.reason}
            for name, given in self.answers.items()
        }
        return {"task": self.task, "question": self.question, "expected": self.expected, "answers": answers}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Answered:
        """Read the plain form."""
        answers = {name: Graded(**given) for name, given in data["answers"].items()}
        return cls(data["task"], data["question"], data["expected"], answers)


def telling_answers(
    plan: Plan, task: Task | None, genomes: Mapping[str, Genome], scores: Mapping[str, np.ndarray]
) -> tuple[Answered, ...]:
    """Ask the models once more what the winner gained and lost most on.

    Only where models are scored in this process: beside workers a further live model might not fit into memory.

    Args:
        plan: The run's parts.
        task: The test split; nothing is asked of tasks that do not put questions.
        genomes: The parents and the winner, who is last, by name.
        scores: Their scores on all samples of the task.
    """
    parts = task.parts if isinstance(task, Mixture) else () if task is None else (task,)
    if plan.settings.uses_workers or not any(isinstance(part, TextTask) for part in parts):
        return ()
    if not plan.is_spoken:
        return ()
    *parents, winner = (scores[name] for name in genomes)
    gains = winner - np.max(parents, axis=0)
    start, asked = 0, []
    for part in parts:
        end = start + len(part.samples)
        if isinstance(part, TextTask):
            asked.append((part, _most_telling(gains[start:end])))
        start = end
    given = {name: _given(plan, genome, asked) for name, genome in genomes.items()}
    positions = [(part, i) for part, ids in asked for i in ids]
    return tuple(
        Answered(
            part.name,
            part.questions[i].text,
            part.questions[i].expected,
            {name: answers[k] for name, answers in given.items()},
        )
        for k, (part, i) in enumerate(positions)
    )


def _most_telling(gains: Float[np.ndarray, " samples"]) -> Int[np.ndarray, " chosen"]:
    """Positions of the largest gains, then of the largest losses, then of some where nothing changed."""
    order = np.argsort(-gains, kind="stable")
    won, lost, same = order[gains[order] > 0], order[gains[order] < 0], order[gains[order] == 0]
    return np.concatenate([won[:_EACH], lost[::-1][:_EACH], same[:_EACH]])


def _given(plan: Plan, genome: Genome, asked: list[tuple[TextTask, np.ndarray]]) -> list[Graded]:
    """The answers of one model; one that fails has its reason in their place."""
    try:
        model: Any = plan.bring_to_life(genome)
        return [graded for part, ids in asked for graded in part.details(model, ids)]
    except Exception as error:  # noqa: BLE001 - the run found its winner; that must not be lost
        return [Graded(0.0, "", reason_of(error))] * sum(len(ids) for _, ids in asked)
