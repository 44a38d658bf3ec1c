"""Dividing questions: limits, search, validation and test, and what to tell about them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from merganser._errors import TaskError
from merganser.evaluation._duplicates import near_doubles
from merganser.evaluation._question import Question
from merganser.evaluation._samples import drawn
from merganser.evaluation._splits import SplitRule, divide
from merganser.evaluation._task import Splits
from merganser.evaluation._text_task import TextTask
from merganser.evaluation.environments import EnvironmentTask

AskedTask = TextTask | EnvironmentTask
"""Tasks that ask a language model, in one turn or in several, and say why."""


def split_questions(
    task: AskedTask, rule: SplitRule | None = SplitRule(), test: AskedTask | None = None
) -> Splits:
    """Divide the questions of a task.

    Args:
        task: A task over everything but what is given apart.
        rule: How to divide; None leaves the task in one piece, of split `all`.
        test: The test set, where it is given apart.

    Raises:
        TaskError: If a split would be empty.
    """
    if rule is None:
        return Splits(task, None, test)
    tested = None if test is None else test.samples.hashes
    parts = divide(task.samples.hashes, rule, tested)
    masks = {"search": parts.search, "validation": parts.validation, "test": parts.test}
    made = {split: _part(task, mask, split) for split, mask in masks.items() if mask is not None}
    splits = {**made, **({} if test is None else {"test": test})}
    notes = [note for held_out in ("validation", "test") if (note := _near(splits, held_out))]
    if rule.preset == "paper" and (shared := len(set(task.samples.hashes) & set(tested or ()))):
        notes.append(
            f"{shared:,} questions of the search are in the test set too, as in the paper's protocol."
        )
    return Splits(
        splits["search"],
        splits.get("validation"),
        splits.get("test"),
        dropped=parts.dropped,
        notes=tuple(notes),
    )


def limited(
    questions: Sequence[Question],
    hashes: Sequence[str],
    limit: int,
    *,
    stratum: Callable[[Question], str],
    seed: int = 0,
) -> tuple[Question, ...]:
    """Some of the questions, in their order: of each stratum its share, within it by the hash of the content.

    A larger limit with one stratum keeps what a smaller one took.

    Args:
        questions: The questions.
        hashes: Hash of each one's content.
        limit: How many to keep.
        stratum: What kind of question it is.
        seed: Another seed takes others.
    """
    if limit >= len(questions):
        return tuple(questions)
    strata: dict[str, list[int]] = defaultdict(list)
    for i, question in enumerate(questions):
        strata[stratum(question)].append(i)
    counts = _shares({name: len(members) for name, members in strata.items()}, limit)
    kept = {i for name, members in strata.items() for i in drawn(hashes, members, counts[name], seed)}
    return tuple(question for i, question in enumerate(questions) if i in kept)


def _shares(sizes: dict[str, int], limit: int) -> dict[str, int]:
    """The limit in proportion to the sizes; what rounding leaves goes to the largest remainders."""
    total = sum(sizes.values())
    counts = {name: size * limit // total for name, size in sizes.items()}
    by_remainder = sorted(sizes, key=lambda name: (-(sizes[name] * limit % total), name))
    for name in by_remainder[: limit - sum(counts.values())]:
        counts[name] += 1
    return counts


def _part(task: AskedTask, mask: np.ndarray, split: str) -> AskedTask:
    if not mask.any():
        raise TaskError(f"The {split} split of {task.name} is empty. Give more data or other fractions.")
    return task.part([task.questions[i] for i in np.flatnonzero(mask)], split)


def _near(splits: dict[str, AskedTask], split: str) -> str | None:
    if split not in splits:
        return None
    search, held_out = splits["search"].questions, splits[split].questions
    found = near_doubles([_whole(q) for q in search], [_whole(q) for q in held_out])
    if not found:
        return None
    first = found[0]
    return (
        f"{len(found):,} of {len(held_out):,} {split} questions are nearly the same as a search question, for example "
        f"{_short(held_out[first.held_out])} and {_short(search[first.search])}: their scores flatter."
    )


def _whole(question: Question) -> str:
    return " ".join([question.text, *question.choices])


def _short(question: Question) -> str:
    where = f" (line {question.line})" if question.line else ""
    return f"{question.text[:60]!r}{where}"
