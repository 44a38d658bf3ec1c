"""From a question to what the model reads: template, examples, chat."""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from merganser.evaluation._question import Question
from merganser.evaluation._template import fill, names_in

Render = Callable[[Sequence[Mapping[str, str]]], str]

_LETTERS = string.ascii_uppercase
_OWN_FIELDS = {"question", "choices"}


@dataclass(frozen=True)
class Prompt:
    r"""How questions are put.

    Attributes:
        template: The question's text, with `{question}`, `{choices}` (one a line, with letters) and the columns.
        answer: What follows it, with the blank it begins with: `{answer}`, `{solution}` (the whole worked answer),
            `{choice}` or `{letter}`. Examples end with it; in multiple choice it is what is scored.
        system: What the model is told first.
        chat: Use the model's chat template: system, then question and answer of each example, then the question.
        examples: Questions with answers that are shown before.
        separator: What stands between examples, outside chat.
        is_text: Question and answer are one text, so that samples with one beginning are not the same sample.

    Examples:
        >>> print(Prompt("Q: {question}\nA:").text(Question("1 + 1?")))
        Q: 1 + 1?
        A:
    """

    template: str = "Question: {question}\nAnswer:"
    answer: str = " {solution}"
    system: str | None = None
    chat: bool = False
    examples: tuple[Question, ...] = ()
    separator: str = "\n\n"
    is_text: bool = False

    def text(self, question: Question, render: Render | None = None) -> str:
        """What the model reads.

        Args:
            question: What is asked.
            render: Messages as one text, for chat: `TextModel.render`.

        Raises:
            ConfigError: If a template names a field that the question lacks.
            ValueError: If it is a chat and there is nothing to render it.
        """
        if self.chat:
            if render is None:
                raise ValueError(
                    "A chat needs `render`, the model's chat template. Give it, or `chat: false`."
                )
            return render(self._messages(question))
        parts = [self.asked(e) + self.answered(e) for e in self.examples]
        system = [] if self.system is None else [self.system]
        return self.separator.join([*system, *parts, self.asked(question)])

    def asked(self, question: Question) -> str:
        """The template filled in, without examples; no answer can get in."""
        return fill(self.template, _question_fields(question))

    def answered(self, question: Question, choice: int | None = None) -> str:
        """What follows the question: its right answer, or one of its choices."""
        chosen = question.right if choice is None else choice
        answer = question.answers[0] if question.answers else ""
        fields = _question_fields(question) | {"answer": answer}
        fields["solution"] = question.fields.get("solution", answer)
        if chosen is not None:
            fields |= {"choice": question.choices[chosen], "letter": _LETTERS[chosen]}
        text = fill(self.answer, fields)
        return text.strip() if self.chat else text

    @cached_property
    def extra_fields(self) -> tuple[str, ...]:
        """Columns that the question's template names, in order: part of a sample's content."""
        return tuple(sorted(names_in(self.template) - _OWN_FIELDS))

    def content(self, question: Question) -> tuple[object, ...]:
        """What makes a sample the same sample: its question, choices and further columns, not an answer to it."""
        return (
            question.text,
            question.choices,
            [question.fields.get(n, "") for n in self.extra_fields],
            *(question.answers if self.is_text else ()),
        )

    def facts(self) -> list[object]:
        """Everything about it as plain data, for digests."""
        shown = [[self.asked(e), self.answered(e)] for e in self.examples]
        return [self.template, self.answer, self.system, self.chat, shown, self.separator]

    def _messages(self, question: Question) -> list[dict[str, str]]:
        system = [] if self.system is None else [{"role": "system", "content": self.system}]
        shown = [
            message
            for e in self.examples
            for message in (
                {"role": "user", "content": self.asked(e)},
                {"role": "assistant", "content": self.answered(e)},
            )
        ]
        return [*system, *shown, {"role": "user", "content": self.asked(question)}]


DEFAULT_PROMPT = Prompt()


def _question_fields(question: Question) -> dict[str, str]:
    lettered = "\n".join(f"{a}. {b}" for a, b in zip(_LETTERS, question.choices, strict=False))
    fields = {name: value for name, value in question.fields.items() if name != "solution"}
    return {**fields, "question": question.text, "choices": lettered}
