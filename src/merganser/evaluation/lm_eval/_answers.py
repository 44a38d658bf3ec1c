"""lm-eval's requests, answered by a text model of this house.

| request of lm-eval | here | answer |
| --- | --- | --- |
| `generate_until` | `GenerationRequest` | the text |
| `loglikelihood`, also each choice of `multiple_choice` | `Continuation` | log-probability, whether greedy |
| `loglikelihood_rolling` | `Continuation` of nothing | log-probability |
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from merganser._errors import NonFiniteOutputError, TaskError
from merganser.models import Continuation, GenerationRequest, LogLikelihood, TextModel

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance

_MAX_TOKENS = 256  # lm-eval's, where a task names no limit
_LIMITS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
_WITHOUT_EFFECT = frozenset({"until", "do_sample", "temperature", "top_p", "top_k", *_LIMITS})
"""Settings of a generation that are read here, or say nothing where the answer is greedy."""


def check_greedy(name: str, settings: Mapping[str, Any]) -> None:
    """Make sure that a task asks for nothing but the greedy answer.

    Args:
        name: What people call the task.
        settings: Its `generation_kwargs`.

    Raises:
        TaskError: If it samples, or sets what greedy answers here do not know.
    """
    sampled = settings.get("do_sample")
    if sampled or (sampled is None and float(settings.get("temperature") or 0) > 0):
        raise TaskError(
            f"{name} draws its answers at random (do_sample, temperature {settings.get('temperature')}), and models "
            "here answer greedily. Take a task that does, or copy its file and set `do_sample: false`."
        )
    unknown = [
        key
        for key, value in settings.items()
        if key not in _WITHOUT_EFFECT and (key, value) != ("num_beams", 1)
    ]
    if unknown:
        raise TaskError(
            f"{name} sets `{unknown[0]}` for its answers, which models here do not know; they answer greedily."
        )


def answer(model: TextModel, requests: Sequence[Instance]) -> None:
    """Ask the model all requests and write its answers into them.

    Raises:
        NonFiniteOutputError: If a log-probability is NaN or infinite.
        TaskError: If lm-eval asks for something else than text.
    """
    kinds = {request.request_type for request in requests}
    for kind in sorted(kinds):
        mine = [request for request in requests if request.request_type == kind]
        if kind == "generate_until":
            answers: list[Any] = [a.text for a in model.generate([_generation(r.args) for r in mine])]
        elif kind in ("loglikelihood", "loglikelihood_rolling"):
            likelihoods = model.log_likelihoods([_continuation(r.args) for r in mine])
            _check_finite(likelihoods)
            rolling = kind == "loglikelihood_rolling"
            answers = [a.total if rolling else (a.total, a.is_greedy) for a in likelihoods]
        else:
            raise TaskError(f"lm-eval asks for {kind!r}, and models here know texts only.")
        for request, given in zip(mine, answers, strict=True):
            request.resps = [given] * (request.repeats or 1)  # greedy answers do not differ


def _generation(arguments: tuple[Any, ...]) -> GenerationRequest:
    prompt, settings = arguments
    until = settings.get("until") or []
    stop = tuple(s for s in ([until] if isinstance(until, str) else until) if s)
    limit = next((settings[key] for key in _LIMITS if settings.get(key) is not None), _MAX_TOKENS)
    return GenerationRequest(prompt, stop, int(limit))


def _continuation(arguments: tuple[Any, ...]) -> Continuation:
    return Continuation("", arguments[0]) if len(arguments) == 1 else Continuation(arguments[0], arguments[1])


def _check_finite(answers: Sequence[LogLikelihood]) -> None:
    for given in answers:
        if not math.isfinite(given.total):
            raise NonFiniteOutputError(f"a log-likelihood is {given.total}")
