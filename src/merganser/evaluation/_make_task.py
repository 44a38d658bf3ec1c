"""From a task file to a task: questions, examples, prompt, scorer, limit and splits."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, cast

from merganser._errors import ConfigError, TaskError
from merganser.evaluation._choice import ChoiceTask
from merganser.evaluation._columns import Columns, read_questions
from merganser.evaluation._duplicates import without_doubles
from merganser.evaluation._generative import GenerativeTask
from merganser.evaluation._prompt import Prompt
from merganser.evaluation._question import Question
from merganser.evaluation._question_splits import limited, split_questions
from merganser.evaluation._set_metric import SetMetric, Unit
from merganser.evaluation._splits import SplitRule
from merganser.evaluation._task import Splits
from merganser.evaluation._task_file import TaskFile
from merganser.evaluation._text_task import TextTask, samples_of
from merganser.evaluation.scorers import answer_number, gated, scorer_named

_ASKED, _STOP = "Question: {question}\nAnswer:", ("Question:",)
_ASKED_LETTER = "Question: {question}\n{choices}\nAnswer:"
_CHOICE_MEASURES, _UNITS = ("accuracy", "probability"), ("bytes", "characters", "tokens")


def make_task(file: TaskFile, rule: SplitRule | None = SplitRule()) -> Splits:
    """The task that a task file describes, divided.

    Args:
        file: What it says.
        rule: How to divide; None leaves it in one piece.

    Raises:
        ConfigError: If parts of it exclude each other, or name what is not there.
        TaskError: If the questions cannot be read, graded or divided.
    """
    columns = _columns(file)
    read = read_questions(file.data, columns, encoding=file.encoding)
    tested = () if file.test is None else read_questions(file.test, columns, encoding=file.encoding)
    scorer = file.scorer or _fitting((*read, *tested))
    prompt = _prompt(file, scorer)
    if scorer.startswith("likelihood") and _share_beginnings((*read, *tested)):
        prompt = dataclasses.replace(prompt, is_text=True)
    questions, notes = _distinct(read, prompt)
    test_questions, test_notes = _distinct(tested, prompt)
    total, questions = len(questions), _limited(file, questions, prompt)
    prompt, shown = _with_examples(file, columns, prompt, (*questions, *test_questions))
    name = file.name or Path(file.data).stem
    limit = f" [{len(questions):,} of {total:,}]" if len(questions) < total else ""
    task = _task(file, scorer, name + limit, questions, prompt)
    test = None
    if test_questions:
        test = dataclasses.replace(task, name=name, questions=test_questions, split="test")
    splits = split_questions(task, rule, test)
    said = (*notes, *(f"test: {note}" for note in test_notes), *shown, *splits.notes)
    return dataclasses.replace(splits, notes=tuple(f"{name}: {n}" for n in said), weight=file.weight)


def _columns(file: TaskFile) -> Columns:
    question, choices = file.columns.question, file.columns.choices
    return Columns(
        (question,) if isinstance(question, str) else question,
        file.columns.answer,
        (choices,) if isinstance(choices, str) else choices,
    )


def _fitting(questions: Sequence[Question]) -> str:
    """The scorer for questions whose file names none."""
    if all(q.right is not None for q in questions):
        return "choice"
    answers = [answer for q in questions for answer in q.answers]
    if not answers:
        return "likelihood"
    numbers = all(answer_number(a) is not None and not any(c.isalpha() for c in a) for a in answers)
    return "numeric" if numbers else "exact"


def _share_beginnings(questions: Sequence[Question]) -> bool:
    """Whether a question has several answers, as the beginning of a text has several continuations."""
    return len({q.text for q in questions}) < len({(q.text, q.answers) for q in questions})


def _prompt(file: TaskFile, scorer: str) -> Prompt:
    kind = scorer.partition(":")[0]
    asked = _ASKED_LETTER if kind == "letter" else _ASKED
    if file.chat:
        asked = asked.removeprefix("Question: ").removesuffix("\nAnswer:")
    answer = {"choice": " {choice}", "letter": " {letter}"}.get(kind, " {solution}")
    return Prompt(
        file.template or asked,
        file.answer or answer,
        file.system,
        file.chat,
        separator=file.separator,
    )


def _distinct(
    questions: tuple[Question, ...], prompt: Prompt
) -> tuple[tuple[Question, ...], tuple[str, ...]]:
    for question in questions:
        prompt.asked(question)  # a field that one of them lacks is told now, not in the middle of a run
    return without_doubles(questions, samples_of(questions, prompt, "all").hashes)


def _limited(file: TaskFile, questions: tuple[Question, ...], prompt: Prompt) -> tuple[Question, ...]:
    if file.limit is None:
        return questions
    if file.take == "first":
        return questions[: file.limit]
    column = file.stratify
    if column is not None and not any(column in q.fields for q in questions):
        raise ConfigError(f"`stratify: {column}` names no column of {file.data}.")
    hashes = samples_of(questions, prompt, "all").hashes

    def stratum(question: Question) -> str:
        return str(question.right) if column is None else question.fields.get(column, "")

    return limited(questions, hashes, file.limit, stratum=stratum, seed=file.seed)


def _with_examples(
    file: TaskFile, columns: Columns, prompt: Prompt, scored: Sequence[Question]
) -> tuple[Prompt, tuple[str, ...]]:
    if file.shots is None:
        return prompt, ()
    examples, _ = _distinct(read_questions(file.shots.data, columns, encoding=file.encoding), prompt)
    known = set(samples_of(scored, prompt, "all").hashes)
    hashes = samples_of(examples, prompt, "all").hashes
    fresh = [e for e, h in zip(examples, hashes, strict=True) if h not in known and e.answers]
    if len(fresh) < file.shots.count:
        raise TaskError(
            f"{file.shots.data} has {len(fresh)} examples with answers that are not scored themselves, but `shots` "
            f"asks for {file.shots.count}. Give other examples, or fewer."
        )
    left_out = len(examples) - len(fresh)
    note = (
        (f"{left_out:,} examples were passed over: they are scored, or have no answer.",) if left_out else ()
    )
    return dataclasses.replace(prompt, examples=tuple(fresh[: file.shots.count])), note


def _task(
    file: TaskFile, scorer: str, name: str, questions: tuple[Question, ...], prompt: Prompt
) -> TextTask:
    kind, _, variant = scorer.partition(":")
    if kind in ("choice", "likelihood") and file.language is not None:
        raise ConfigError(f"`language:` is for written answers, but the scorer is `{scorer}`.")
    if kind == "choice":
        measure = cast('Literal["accuracy", "probability"]', _one_of(scorer, variant, _CHOICE_MEASURES))
        return ChoiceTask(name, questions, prompt=prompt, normalise=file.normalise, measure=measure)
    if kind == "likelihood":
        return SetMetric(name, questions, prompt=prompt, per=cast("Unit", _one_of(scorer, variant, _UNITS)))
    graded = scorer_named(scorer, seconds=file.seconds)
    if file.language is not None:
        graded = gated(graded, file.language, file.detector)
    stop = file.stop
    if stop is None:
        stop = _STOP if file.template is None and not file.chat else ()
    return GenerativeTask(name, questions, graded, prompt=prompt, stop=stop, max_tokens=file.max_tokens)


def _one_of(scorer: str, variant: str, known: Sequence[str]) -> str:
    if variant and variant not in known:
        raise ConfigError(
            f"There is no scorer `{scorer}`; after the colon stands {' or '.join(known[1:])}, or nothing."
        )
    return variant or known[0]
