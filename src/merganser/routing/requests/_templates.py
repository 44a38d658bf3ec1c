"""Contracts of the common shapes.

| shape | input | output | plain form of an answer |
| --- | --- | --- | --- |
| [`classification`][] | text | label, one of a list | exactly one of the labels occurs in it |
| [`extraction`][] | text | the fields | none: JSON |
| [`question_answering`][] | question | answer | the text itself, up to a length |
| [`code`][] | task | code that parses | what stands between fences, else everything |
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from merganser.routing.requests._contract import Contract, Limits

FIELD_TYPES: dict[str, type] = {
    "text": str,
    "integer": int,
    "number": float,
    "yes_no": bool,
    "texts": list[str],
}
"""What a field of an extraction can be, by name."""

_STRICT = ConfigDict(extra="forbid")
_FENCED = re.compile(r"```[^\n`]*\n(.*?)```", re.DOTALL)


class Text(BaseModel):
    """A text that something is asked about."""

    text: str = Field(min_length=1)


class Question(BaseModel):
    """A question."""

    question: str = Field(min_length=1)


class Assignment(BaseModel):
    """What a program shall do."""

    task: str = Field(min_length=1)


def classification(
    labels: Sequence[str], *, name: str = "classification", instructions: str = "", **options: Any
) -> Contract:
    """One label of a list.

    Args:
        labels: The labels, two or more; an answer may write them in other case.
        name: What people call it.
        instructions: What is asked; by default which of the labels fits.
        options: Further attributes of the contract: `good_at`, `limits`, `retries`, `prompt`.

    Raises:
        ValueError: If there are fewer than two labels, or two are the same but for case.

    Examples:
        >>> mood = classification(["good", "bad"])
        >>> mood.said(mood.read("Rather Good, I think."))
        'good'
        >>> mood.read("good or bad").reason
        'expected one of good, bad, found good, bad'
    """
    by_name = {label.casefold(): label for label in labels}
    if len(by_name) < 2 or len(by_name) < len(labels):
        raise ValueError(f"Expected two or more different labels, found {list(labels)}.")
    one_of: Any = Literal[tuple(labels)]
    output = create_model("Label", __config__=_STRICT, label=(one_of, ...))
    asked = instructions or f"Which of {', '.join(labels)} fits? Answer with one of them."

    def plain(text: str) -> dict[str, str]:
        read = text.casefold()
        found = [
            label for key, label in by_name.items() if re.search(rf"(?<!\w){re.escape(key)}(?!\w)", read)
        ]
        if len(found) != 1:
            said = ", ".join(found) or repr(text.strip()[:60])
            raise ValueError(f"expected one of {', '.join(labels)}, found {said}")
        return {"label": found[0]}

    return _made(name, Text, output, f"{asked}\n\n{{text}}", plain, options)


def extraction(
    fields: Mapping[str, str], *, name: str = "extraction", instructions: str = "", **options: Any
) -> Contract:
    """Fields that are read out of a text, as JSON.

    Args:
        fields: Kind of each field: text, integer, number, yes_no or texts.
        name: What people call it.
        instructions: What is asked; by default for these fields as JSON.
        options: Further attributes of the contract: `good_at`, `limits`, `retries`, `prompt`.

    Raises:
        ValueError: If there are no fields, or a kind is unknown.

    Examples:
        >>> dated = extraction({"name": "text", "year": "integer"})
        >>> dated.said(dated.read('{"name": "Ada", "year": 1815}'))
        '{"name": "Ada", "year": 1815}'
        >>> dated.read('{"name": "Ada"}').reason
        'year: Field required'
    """
    unknown = {kind for kind in fields.values() if kind not in FIELD_TYPES}
    if unknown or not fields:
        found = ", ".join(sorted(map(str, unknown))) or "no fields"
        raise ValueError(f"Expected fields of the kinds {', '.join(FIELD_TYPES)}, found {found}.")
    typed: dict[str, Any] = {key: (FIELD_TYPES[kind], ...) for key, kind in fields.items()}
    said = ", ".join(f"{key} ({kind})" for key, kind in fields.items())
    asked = instructions or f"Read these from the text, and answer with one JSON object: {said}."
    output = create_model("Fields", __config__=_STRICT, **typed)
    return _made(name, Text, output, f"{asked}\n\n{{text}}", None, options)


def question_answering(
    *, name: str = "question_answering", instructions: str = "", longest: int = 4000, **options: Any
) -> Contract:
    """An answer in words.

    Args:
        name: What people call it.
        instructions: What stands before the question.
        longest: Most characters of an answer.
        options: Further attributes of the contract: `good_at`, `limits`, `retries`, `prompt`.
    """
    output = create_model("Words", answer=(str, Field(min_length=1, max_length=longest)))
    before = f"{instructions}\n\n" if instructions else ""
    return _made(name, Question, output, f"{before}{{question}}", lambda t: {"answer": t.strip()}, options)


def code(*, name: str = "code", language: str = "python", instructions: str = "", **options: Any) -> Contract:
    """A program. Python is parsed, never run.

    Args:
        name: What people call it.
        language: Its language; other than python it is only asked for.
        instructions: What stands before the task.
        options: Further attributes of the contract: `good_at`, `limits`, `retries`, `prompt`.
    """
    output = create_model("Program", code=(str, Field(min_length=1)))
    asked = instructions or f"Write {language} code only."

    def plain(text: str) -> dict[str, str]:
        fenced = _FENCED.search(text)
        found = fenced[1] if fenced else text
        if language == "python":
            _parse(found)
        return {"code": found.strip("\n")}

    return _made(name, Assignment, output, f"{asked}\n\n{{task}}", plain, options)


def _parse(source: str) -> None:
    try:
        ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"expected python that parses, found {type(error).__name__}: {error}") from error


def _made(
    name: str,
    input: type[BaseModel],
    output: type[BaseModel],
    prompt: str,
    plain: Any,
    options: dict[str, Any],
) -> Contract:
    made = {"prompt": prompt, "plain": plain, "limits": Limits(), **options}
    return Contract(name, input, output, **made)
