"""Local models as experts: in one process beside this one, loaded when they are first asked, under a memory cap."""

from __future__ import annotations

from merganser.routing.requests._contract import Limits
from merganser.routing.requests._expert import Ask, Reply
from merganser.routing.requests._process import Process

_GIB = 2**30
_LOADING = 300.0
_GRACE = 2.0


class LocalModels:
    """Models of this machine that share a process.

    A model is loaded at its first request, which has the time of loading on top of its limit. Where the weights of
    those that are loaded and of the new one exceed the cap, those that were not asked for longest go first. A model
    that hangs takes the process with it; the others are loaded again when they are asked.

    Args:
        memory: Most bytes of weights in memory together; None for no cap.
        device: Where models live, as torch names it.
        dtype: Element type to compute in; by default each model's own.
        starting: Longest time of loading a model, seconds.
    """

    def __init__(
        self,
        *,
        memory: int | None = 4 * _GIB,
        device: str = "cpu",
        dtype: str | None = None,
        starting: float = _LOADING,
    ) -> None:
        self._options = {"memory": memory, "device": device, "dtype": dtype}
        self._starting = starting
        self._process = Process("merganser.routing.requests._local_worker:call", starting=starting)

    def expert(self, model: str) -> Ask:
        """A way to ask a model.

        Args:
            model: Its reference, as `merganser.load` takes it.
        """

        def ask(prompt: str, limits: Limits, /) -> Reply:
            self._process.call(["load", {"model": model, **self._options}], self._starting)
            asked = {
                "model": model,
                "prompt": prompt,
                "max_tokens": limits.max_tokens,
                "stop": list(limits.stop),
                "seconds": limits.seconds,
            }
            # a model looks at the clock after every token, and gives what it has: the process is for what hangs
            text, tokens = self._process.call(["answer", asked], limits.seconds + _GRACE)
            return Reply(text, tokens)

        return ask
