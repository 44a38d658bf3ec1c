"""A contract: what an expert is given and what it owes, as pydantic models, with the prompt between them.

An answer is text. It is read as JSON where it holds some that fits the output model, else in the contract's plain form,
if it has one. What does not fit is a [`Violation`][]: a value, which the expert may be told before it tries again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from merganser.routing.requests._json_text import objects_in

_NAME = re.compile(r"\{([A-Za-z_]\w*)\}")
_LONGEST = 240  # characters of a reason: it goes into prompts, logs and tables


@dataclass(frozen=True, slots=True)
class Violation:
    """What is wrong with an input or an answer.

    Attributes:
        side: Whose fault it is: the request does not fit the expert, or the answer does not fit the request.
        reason: What was expected and what was found.
    """

    side: Literal["input", "output"]
    reason: str


@dataclass(frozen=True, slots=True)
class Limits:
    """How long one ask may take and how long its answer may be.

    Attributes:
        seconds: Longest time, positive.
        max_tokens: Most tokens of an answer, for experts that count them.
        stop: Texts that end an answer, for experts that know them.

    Raises:
        ValueError: If one is not positive.
    """

    seconds: float = 30.0
    max_tokens: int = 256
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.seconds > 0 or self.max_tokens < 1:
            raise ValueError(
                f"Limits must be positive, but are {self.seconds:g} s and {self.max_tokens} tokens."
            )


@dataclass(frozen=True)
class Contract:
    """What goes in, what comes out, and how it is asked for.

    Attributes:
        name: What people call it.
        input: What a request must hold.
        output: What an answer must hold.
        prompt: What the expert reads; `{field}` is replaced by a field of the input, nothing else is.
        good_at: What it is for, in words.
        plain: From an answer that is no JSON to the fields of the output; raises ValueError with the reason.
        limits: Of one ask.
        retries: How often the expert is asked again after an answer that breaks the contract.

    Raises:
        ValueError: If the prompt names what is no field of the input, or `retries` is negative.

    Examples:
        >>> class Asked(BaseModel):
        ...     word: str
        >>> class Length(BaseModel):
        ...     letters: int
        >>> counting = Contract("counting", Asked, Length, "How many letters has {word}?")
        >>> counting.read('It has {"letters": 3}.')
        Length(letters=3)
        >>> counting.read("three").reason
        'expected JSON with letters, found no JSON object in "three"'
    """

    name: str
    input: type[BaseModel]
    output: type[BaseModel]
    prompt: str
    good_at: str = ""
    plain: Callable[[str], Mapping[str, Any]] | None = None
    limits: Limits = Limits()
    retries: int = 1

    def __post_init__(self) -> None:
        unknown = set(_NAME.findall(self.prompt)) - set(self.input.model_fields)
        if unknown:
            raise ValueError(
                f"The prompt of contract {self.name!r} names {_listed(unknown)}, but its input has "
                f"{_listed(self.input.model_fields)}."
            )
        if self.retries < 0:
            raise ValueError(
                f"`retries` of contract {self.name!r} must not be negative, but is {self.retries}."
            )

    def accept(self, request: str | Mapping[str, Any]) -> BaseModel | Violation:
        """The request as this contract's input.

        Args:
            request: Fields, or a text, which becomes the input's only required field.
        """
        if isinstance(request, str):
            required = [name for name, field in self.input.model_fields.items() if field.is_required()]
            if len(required) != 1:
                return Violation("input", f"expected the fields {_listed(required)}, found a text")
            request = {required[0]: request}
        try:
            return self.input.model_validate(dict(request))
        except ValidationError as error:
            return Violation("input", _explained(error))

    def question(self, given: BaseModel, told: Violation | None = None) -> str:
        """What the expert reads.

        Args:
            given: The input.
            told: What was wrong with its last answer.
        """
        fields = {name: getattr(given, name) for name in self.input.model_fields}
        text = _NAME.sub(
            lambda match: _as_text(fields[match[1]]) if match[1] in fields else match[0], self.prompt
        )
        if told is None:
            return text
        return f"{text}\n\nYour last answer broke the contract: {told.reason}. Answer again."

    def read(self, text: str) -> BaseModel | Violation:
        """The answer as this contract's output."""
        if not text.strip():
            return Violation("output", "the answer is empty")
        fault = None
        for found in objects_in(text):
            try:
                return self.output.model_validate(found)
            except ValidationError as error:
                fault = fault or _explained(error)
        if self.plain is None:
            wanted = _listed(self.output.model_fields)
            missing = f"expected JSON with {wanted}, found no JSON object in {_quoted(text)}"
            return Violation("output", fault or missing)
        try:
            return self.output.model_validate(dict(self.plain(text)))
        except ValidationError as error:
            return Violation("output", _explained(error))
        except ValueError as error:
            return Violation("output", str(error)[:_LONGEST])

    def said(self, answer: BaseModel) -> str:
        """The answer as one text, as tasks grade it: its only field if that is a text, else JSON."""
        fields = answer.model_dump(mode="json")
        if len(fields) == 1 and isinstance(only := next(iter(fields.values())), str):
            return only
        return json.dumps(fields, ensure_ascii=False)


def request_text(request: str | Mapping[str, Any]) -> str:
    """The request as the router reads it: itself, or its fields one a line."""
    return request if isinstance(request, str) else "\n".join(_as_text(value) for value in request.values())


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _explained(error: ValidationError) -> str:
    said = []
    for each in error.errors(include_url=False)[:4]:
        where = ".".join(map(str, each["loc"]))
        said.append(f"{where}: {each['msg']}" if where else each["msg"])
    return "; ".join(said)[:_LONGEST]


def _listed(names: Any) -> str:
    return ", ".join(sorted(names)) or "nothing"


def _quoted(text: str) -> str:
    return json.dumps(text.strip()[:60], ensure_ascii=False)
