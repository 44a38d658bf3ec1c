"""What every language model in memory can do, however its weights came there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from merganser.models._hooks import outputs_of
from merganser.models._requests import Continuation, GenerationRequest, LogLikelihood, Response, Rollout
from merganser.models._threads import fitting_threads
from merganser.models._tokens import Tokens
from merganser.models._voices import Voices

if TYPE_CHECKING:
    from torch import Tensor, nn


class SpokenModel(ABC):
    """A causal language model of transformers that is in memory; a [`TextModel`][].

    Give one model to one thread at a time.

    Attributes:
        module: The module, of transformers.
    """

    module: nn.Module

    @property
    @abstractmethod
    def tokens(self) -> Tokens:
        """Its tokenizer."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Number of parameters."""

    def _check_ready(self) -> None:  # noqa: B027 - most are ready as long as they live
        """Make sure that the module has the weights it should have."""

    def generate(
        self, requests: Sequence[GenerationRequest], *, seconds: float | None = None
    ) -> list[Response]:
        """Continue prompts greedily, many at a time.

        Args:
            requests: In any order; prompts of similar length are computed together.
            seconds: Time for all of them; what is not finished by then ends as it is.

        Raises:
            NonFiniteOutputError: If the model's output is NaN or infinite.
            ValueError: If a prompt is longer than the model's context.
        """
        return self._continued(requests, None, seconds=seconds)

    def roll_out(
        self, requests: Sequence[GenerationRequest], *, temperature: float = 1.0, seed: int = 0
    ) -> list[Rollout]:
        """Continue prompts by drawing tokens, many at a time, and give the tokens too.

        Args:
            requests: In any order; the same one may come several times. The same requests in the same order with the
                same seed get the same answers.
            temperature: What logits are divided by; 0 takes the likeliest token.
            seed: Another seed draws others.

        Raises:
            NonFiniteOutputError: If the model's output is NaN or infinite.
            ValueError: If a prompt is longer than the model's context, or the temperature is negative.
        """
        from merganser.models._generation import roll_out

        if temperature < 0:
            raise ValueError(f"Expected a temperature of at least 0, found {temperature:g}.")
        self._check_ready()
        with fitting_threads(self.size):
            return roll_out(self.module, self.tokens, requests, temperature=temperature, seed=seed)

    def room(self, prompt: str) -> int | None:
        """Tokens that an answer to a prompt may have in the model's context; None if the model does not say."""
        from merganser.models._reading import context_size

        most = context_size(self.module)
        return None if most is None else most - len(self.tokens.prompt(prompt))

    def log_likelihoods(self, requests: Sequence[Continuation]) -> list[LogLikelihood]:
        """How probable texts are after their contexts, many at a time.

        Raises:
            NonFiniteOutputError: If the model's output is NaN or infinite.
            ValueError: If context and text are longer than the model's context.
        """
        return self._weighed(requests, None)

    def render(self, messages: Sequence[Mapping[str, str]]) -> str:
        """Messages (`role`, `content`) as one prompt, by the model's chat template.

        Raises:
            ValueError: If the model has none, or it does not take these messages.
        """
        return self.tokens.render(messages)

    @contextmanager
    def activations(self, names: Sequence[str]) -> Iterator[dict[str, list[Tensor]]]:
        """Collect what parts of the module put out while the block runs.

        Args:
            names: Submodules as torch names them, such as ``"model.layers.0"``.

        Yields:
            For each of them the outputs (of several the first), call after call; they lie where the model lives.

        Raises:
            ValueError: If the module has no such part.
        """
        with outputs_of(self.module, names) as seen:
            yield seen

    def _continued(
        self, requests: Sequence[GenerationRequest], voices: Voices | None, *, seconds: float | None = None
    ) -> list[Response]:
        """Answers, each by a voice of its own where there are several."""
        from merganser.models._generation import generate

        self._check_ready()
        with fitting_threads(self.size):
            return generate(self.module, self.tokens, requests, seconds=seconds, voices=voices)

    def _weighed(self, requests: Sequence[Continuation], voices: Voices | None) -> list[LogLikelihood]:
        """Log-probabilities, each as a voice of its own sees it where there are several."""
        from merganser.models._likelihood import log_likelihoods

        self._check_ready()
        with fitting_threads(self.size):
            return log_likelihoods(self.module, self.tokens, requests, voices=voices)
