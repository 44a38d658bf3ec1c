r"""The question of the first pass: which expert is a request for?

| `read` | the label is | where the label is not clear |
| --- | --- | --- |
| `likelihood` | the one that is most probable after the prompt | two that are equally probable: the base |
| `boxed` | what stands in the first `\boxed{…}` that the model writes | nothing, or no known label: the base |

The first needs one pass over the prompt, always finds a label, and says how sure it is: the softmax of the labels'
log-probabilities. With `calibrate` what the model finds probable whatever the request (an empty one) is subtracted
before (Zhao et al.); an untrained base needs that, a dispatcher has learnt without. The second is what *Transformer²*
does.

References:
    Sun et al., *Transformer²: Self-Adaptive LLMs*, ICLR 2025, https://arxiv.org/abs/2501.06252
    Zhao et al., *Calibrate Before Use*, ICML 2021, https://arxiv.org/abs/2102.09690
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, Protocol, get_args

from merganser.adaptation.strategies._decision import OTHER, Cost, Decision
from merganser.models import Continuation, GenerationRequest, LogLikelihood, Response

Read = Literal["likelihood", "boxed"]
TEMPLATES: dict[Read, str] = {
    "likelihood": "What kind of request is this? One of these:\n{experts}\n\nRequest: {request}\nKind:",
    "boxed": (
        "What kind of request is this? One of these:\n{experts}\n\nIf several fit, take the one that matters most. "
        "Write its name into \\boxed{}.\n\nRequest: {request}\nAnswer:"
    ),
}
_BOXED = re.compile(r"\\boxed\{\s*([^{}]*?)\s*\}")
_FIELD = re.compile(r"\{(experts|request)\}")


class FirstPass(Protocol):
    """What a strategy may ask while it decides."""

    @property
    def descriptions(self) -> Mapping[str, str]:
        """What each expert is for, by its name, in one sentence."""
        ...

    def generate_as(
        self, requests: Sequence[GenerationRequest], experts: Sequence[str | None]
    ) -> list[Response]:
        """Answers, each by an expert of its own."""
        ...

    def log_likelihoods_as(
        self, requests: Sequence[Continuation], experts: Sequence[str | None]
    ) -> list[LogLikelihood]:
        """Log-probabilities, each by an expert of its own."""
        ...

    def render(self, messages: Sequence[Mapping[str, str]]) -> str:
        """Messages as one prompt."""
        ...


@dataclass(frozen=True, slots=True)
class DispatchPrompt:
    """How the first pass asks, and how the label is read off.

    Attributes:
        template: With `{request}`, and `{experts}` for a line `- name: description` of each; None for the one of
            `TEMPLATES`.
        answer: How a label follows, with the blank it begins with: `{label}`.
        other: What `other` is for; None if there is no such label, so that an expert is always chosen.
        read: How the label is read off.
        chat: Put the prompt into the model's chat template, as a user's words.
        calibrate: Subtract the labels' log-probabilities after an empty request; None to do so if the base is asked,
            but not if a dispatcher is.
        max_tokens: Most tokens that are written, for `boxed`.

    Raises:
        ValueError: If the template lacks `{request}`, the answer `{label}`, or there is no such way to read.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}  # in a file a misspelt key is an error

    template: str | None = None
    answer: str = " {label}"
    other: str | None = "anything else, or unclear"
    read: Read = "likelihood"
    chat: bool = False
    calibrate: bool | None = None
    max_tokens: int = 64

    def __post_init__(self) -> None:
        if self.read not in get_args(Read):
            raise ValueError(f"Expected `read` among {', '.join(get_args(Read))}, found {self.read!r}.")
        if self.template is not None and "{request}" not in self.template:
            raise ValueError("The template of a dispatch prompt needs `{request}`, where the request goes.")
        if "{label}" not in self.answer:
            raise ValueError("`answer` of a dispatch prompt needs `{label}`, where the label goes.")

    def text(self, request: str, descriptions: Mapping[str, str]) -> str:
        """What the model reads, before a chat template.

        Examples:
            >>> print(DispatchPrompt().text("2 + 2?", {"maths": "numbers"}))
            What kind of request is this? One of these:
            - maths: numbers
            - other: anything else, or unclear
            <BLANKLINE>
            Request: 2 + 2?
            Kind:
        """
        known = dict(descriptions) | ({} if self.other is None else {OTHER: self.other})
        lines = [f"- {name}: {said}" if said else f"- {name}" for name, said in known.items()]
        fields = {"experts": "\n".join(lines), "request": request}
        return _FIELD.sub(lambda found: fields[found[1]], self.template or TEMPLATES[self.read])

    def labels(self, descriptions: Mapping[str, str]) -> tuple[str, ...]:
        """Names of the experts, and `other` if there is that label."""
        return (*descriptions, *(() if self.other is None else (OTHER,)))

    def labelled(self, label: str) -> str:
        r"""What follows the prompt where a label is right.

        Examples:
            >>> DispatchPrompt().labelled("maths"), DispatchPrompt(read="boxed").labelled("maths")
            (' maths', ' \\boxed{maths}')
        """
        written = f"\\boxed{{{label}}}" if self.read == "boxed" else label
        text = self.answer.replace("{label}", written)
        return text.strip() if self.chat else text

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)

    def decide(self, asked: FirstPass, requests: Sequence[str], voice: str | None) -> list[Decision]:
        """Ask the model, speaking as an expert, about every request.

        Args:
            asked: The model.
            requests: The requests.
            voice: The expert that it speaks as; None for the base.

        Raises:
            ValueError: If there is no expert that a request could go to.
        """
        if not asked.descriptions:
            raise ValueError("There is no expert that a request could go to. Add one besides the dispatcher.")
        prompts = [self._prompt(asked, request) for request in requests]
        if self.read == "boxed":
            wanted = [GenerationRequest(prompt, (), self.max_tokens) for prompt in prompts]
            answers = asked.generate_as(wanted, [voice] * len(wanted))
            return [self._parsed(*pair, asked) for pair in zip(prompts, answers, strict=True)]
        found = self._weighed(asked, prompts, voice)
        values = [[label.total for label in each] for each in found]
        if voice is None if self.calibrate is None else self.calibrate:
            [before] = self._weighed(asked, [self._prompt(asked, "")], voice)
            values = [[v - b.total for v, b in zip(each, before, strict=True)] for each in values]
        labels = self.labels(asked.descriptions)
        costs = [Cost(read=sum(label.tokens for label in each)) for each in found]
        chosen = zip(prompts, values, costs, strict=True)
        return [_most_likely(labels, each, prompt, cost) for prompt, each, cost in chosen]

    def _prompt(self, asked: FirstPass, request: str) -> str:
        text = self.text(request, asked.descriptions)
        return asked.render([{"role": "user", "content": text}]) if self.chat else text

    def _weighed(
        self, asked: FirstPass, prompts: Sequence[str], voice: str | None
    ) -> list[list[LogLikelihood]]:
        """How probable every label is after each prompt."""
        texts = [self.labelled(label) for label in self.labels(asked.descriptions)]
        wanted = [Continuation(prompt, text) for prompt in prompts for text in texts]
        found = asked.log_likelihoods_as(wanted, [voice] * len(wanted))
        return [found[k : k + len(texts)] for k in range(0, len(found), len(texts))]

    def _parsed(self, prompt: str, answer: Response, asked: FirstPass) -> Decision:
        found, cost = _BOXED.search(answer.text), Cost(written=answer.tokens)
        label = None if found is None else found[1]
        if label in asked.descriptions:
            return Decision(label, prompt=prompt, cost=cost)
        reason = ""
        if label is None:
            reason = f"no \\boxed{{…}} in {answer.text.strip()[:40]!r}"
        elif label != OTHER:
            reason = f"no expert is called {label[:40]!r}"
        return Decision(None, None, reason, prompt, cost)


def _most_likely(labels: Sequence[str], values: Sequence[float], prompt: str, cost: Cost) -> Decision:
    """The label of the largest log-probability."""
    best = max(values)
    sure = 1 / sum(math.exp(value - best) for value in values)
    chosen = [label for label, value in zip(labels, values, strict=True) if value == best]
    if len(chosen) > 1:
        return Decision(None, sure, f"{' and '.join(chosen)} are equally probable", prompt, cost)
    return Decision(None if chosen[0] == OTHER else chosen[0], sure, "", prompt, cost)
