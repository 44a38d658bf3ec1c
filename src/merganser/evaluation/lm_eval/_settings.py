"""How a task of lm-evaluation-harness is asked and scored."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LmEvalSettings:
    """What may be chosen about a task; the defaults are those of the command `lm_eval`.

    Attributes:
        metric: `METRIC` or `METRIC,FILTER`, such as `exact_match,flexible-extract`; None takes the task's first
            metric that has a value for each document, with its first filter.
        num_fewshot: Examples before each question; None takes the task's own number. A task that sets 0 itself keeps
            it, as in lm-eval.
        chat_template: Whether prompts are written as conversations, by the model's chat template.
        fewshot_as_multiturn: Whether each example is a turn of its own; None says yes where there is a chat template.
        system_prompt: What the conversation, or the plain prompt, begins with.
        limit: Only the first documents that lm-eval would score, and at most as many for search and for validation.
        seed: Seed of the draw of examples.
        include_path: Folder of further task files; its names go before lm-eval's own.
        trust: Whether Python code that stands beside a task file may run, and metrics may be loaded as code from the
            Hugging Face Hub.

    Raises:
        ValueError: If a number is out of range, or turns are asked for without a chat template.
    """

    metric: str | None = None
    num_fewshot: int | None = None
    chat_template: bool = False
    fewshot_as_multiturn: bool | None = None
    system_prompt: str | None = None
    limit: int | None = None
    seed: int = 1234
    include_path: str | None = None
    trust: bool = False

    def __post_init__(self) -> None:
        if self.num_fewshot is not None and self.num_fewshot < 0:
            raise ValueError(f"`num_fewshot` must be 0 or more, but is {self.num_fewshot}.")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"`limit` must be 1 or more documents, but is {self.limit}.")
        if self.fewshot_as_multiturn and not self.chat_template:
            raise ValueError(
                "`fewshot_as_multiturn` writes the examples as turns of a conversation, which needs "
                "`chat_template: true`."
            )

    @property
    def multiturn(self) -> bool:
        """Whether examples are turns of their own."""
        return self.chat_template if self.fewshot_as_multiturn is None else self.fewshot_as_multiturn
