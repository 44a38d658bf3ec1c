"""From rows to questions, whatever the columns are called.

| part | columns it is looked for in: the first that is there and not all empty; capitals do not count |
| --- | --- |
| question | `body` and `question` (SVAMP), `question`, `prompt`, `input`, `query`, `problem`, `ctx`, `text` |
| answer | `answer`, `answers`, `answer_number`, `target`, `output`, `response`, `label`, `gold`, `answerkey`, … |
| choices | `choices`, `options`, `endings`, or `choice0` … (also `choice_0`, `option_a` …) |

An answer may be a list of accepted ones. `… #### 42` (GSM8K) is the answer 42 with the solution before it. Of multiple
choice it is a position from 0, a letter, one of the choices' own labels (ARC), or the choice itself; a text that is
both counts as the choice, except in columns named for positions (`label`, `gold`, `answerkey`, `answer_idx`).
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from merganser._errors import ConfigError, TaskError
from merganser.evaluation._question import Question
from merganser.evaluation._rows import Row, read_rows

_QUESTION = ("question", "prompt", "input", "query", "problem", "ctx", "text")
_POSITIONS = ("label", "gold", "answerkey", "answer_idx", "answer_index")
_ANSWER = ("answer", "answers", "answer_number", "target", "output", "response", *_POSITIONS)
_CHOICES = ("choices", "options", "endings")
_NUMBERED = re.compile(r"(?:choice|option|choices|options)_?([0-9]|[a-j])", re.IGNORECASE)
_KNOWN = {*_QUESTION, *_ANSWER, *_CHOICES, "body"}


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns are what; those that are not given are found by their names.

    Attributes:
        question: Columns that make the question, joined by a blank.
        answer: The column of the answer.
        choices: The column of all choices, or one column for each.
    """

    question: tuple[str, ...] = ()
    answer: str | None = None
    choices: tuple[str, ...] = ()


def read_questions(
    path: Path | str, columns: Columns = Columns(), *, encoding: str = "utf-8"
) -> tuple[Question, ...]:
    """Questions of a file, as they stand there, doubles included.

    Args:
        path: A `.jsonl`, `.json`, `.csv` or `.tsv` file.
        columns: Which columns are what.
        encoding: How its text is encoded.

    Raises:
        TaskError: If it cannot be read, a question is empty, or one lacks an answer where others have one, with
            its line.
        ConfigError: If a column that was named is not there.
    """
    given = [*columns.question, *columns.choices, *([columns.answer] if columns.answer else [])]
    rows = read_rows(Path(path), encoding=encoding, known=_KNOWN | {name.lower() for name in given})
    names = list(dict.fromkeys(name for row in rows for name in row.values))
    filled = [name for name in names if any(not _blank(row.values.get(name)) for row in rows)]
    missing = next((name for name in given if name not in names), None)
    if missing is not None:
        raise ConfigError(f"{path} has no column {missing!r}; it has {', '.join(names)}.")
    found = _found(columns, filled)
    if not found.question:
        raise TaskError(
            f"{path} has no column that we know as a question; it has {', '.join(names)}. "
            "Name it: `columns: {question: …}`."
        )
    questions = tuple(_question(path, row, found) for row in rows)
    _check(path, [q.line for q in questions if not q.text.strip()], "questions are empty")
    if any(q.answers for q in questions):
        _check(path, [q.line for q in questions if not q.answers], "answers are missing")
    return questions


def _found(columns: Columns, names: Sequence[str]) -> Columns:
    by_name = {name.lower(): name for name in reversed(names)}
    question = columns.question
    if not question and "body" in by_name and "question" in by_name:
        question = (by_name["body"], by_name["question"])
    if not question:
        question = tuple(by_name[n] for n in _QUESTION if n in by_name)[:1]
    answer = columns.answer or next((by_name[n] for n in _ANSWER if n in by_name), None)
    choices = columns.choices or tuple(by_name[n] for n in _CHOICES if n in by_name)[:1]
    if not choices:
        choices = tuple(sorted((n for n in names if _NUMBERED.fullmatch(n)), key=str.lower))
    return Columns(question, None if answer in question else answer, choices)


def _question(path: Path | str, row: Row, columns: Columns) -> Question:
    values = row.values
    text = " ".join(_text(values.get(name)) for name in columns.question).strip()
    choices, labels = _choices([values.get(name) for name in columns.choices])
    raw = None if columns.answer is None else values.get(columns.answer)
    fields = {name: _text(value) for name, value in values.items() if name != columns.answer}
    if choices:
        right = None if _blank(raw) else _right(path, row.line, raw, choices, labels, str(columns.answer))
        answers = () if right is None else (choices[right],)
        return Question(text, answers, choices, right, fields, row.line)
    listed = raw if isinstance(raw, list) else [raw]
    answers = tuple(_text(each).strip() for each in listed if not _blank(each))
    if len(answers) == 1 and "####" in answers[0]:
        fields["solution"], answers = answers[0], (answers[0].rpartition("####")[2].strip(),)
    return Question(text, answers, fields=fields, line=row.line)


def _choices(cells: Sequence[Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The choices and, where the data give them, their own labels."""
    first = cells[0] if len(cells) == 1 else None
    if isinstance(first, Mapping) and {"text", "label"} <= first.keys():  # ARC, CommonsenseQA
        return tuple(map(_text, first["text"])), tuple(map(_text, first["label"]))
    if isinstance(first, Mapping):
        return tuple(map(_text, first.values())), tuple(map(str, first))
    listed = first if isinstance(first, list) else [c for c in cells if not _blank(c)]
    return tuple(_text(each).strip() for each in listed), ()


def _right(
    path: Path | str, line: int, answer: Any, choices: Sequence[str], labels: Sequence[str], column: str
) -> int:
    text, letters = _text(answer).strip(), string.ascii_uppercase[: len(choices)]
    position = int(text) if re.fullmatch(r"[0-9]{1,3}", text) else None
    positions_first = column.lower() in _POSITIONS or isinstance(answer, int)
    if text in labels:
        return labels.index(text)
    if text in choices and not (positions_first and position is not None):
        return choices.index(text)
    if len(text) == 1 and text.upper() in letters:
        return letters.index(text.upper())
    if position is not None and position < len(choices):
        return position
    raise TaskError(
        f"{path}, line {line}: the answer {text!r} is none of {len(choices)} choices. Expected a position from 0 to "
        f"{len(choices) - 1}, a letter from A to {letters[-1]}, or a choice itself."
    )


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)


def _blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _check(path: Path | str, lines: Sequence[int], fault: str) -> None:
    if lines:
        raise TaskError(f"{path}: {len(lines)} {fault}, the first in line {lines[0]}. Mend or remove them.")
