"""Python objects as experts: each call runs in a thread that is given up on when its time is over.

Python cannot end a thread. One that was given up on lives on until its function returns; its late answer is dropped.
So that they do not pile up, an expert with several of them is refused until one has returned. Processes end without
waiting for them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from merganser.routing.requests._contract import Limits
from merganser.routing.requests._expert import Ask, AskError, LateError, Reply

_T = TypeVar("_T")


class Lost:
    """The threads of one expert that were given up on.

    Args:
        most: How many may be alive before the expert is refused.
    """

    def __init__(self, most: int = 4) -> None:
        self._most, self._threads, self._lock = most, set[threading.Thread](), threading.Lock()

    def call(self, function: Callable[[], _T], seconds: float) -> _T:
        """What a function returns within its time.

        Args:
            function: What to call.
            seconds: Longest time.

        Raises:
            LateError: If it takes longer, or too many calls before it still do.
            AskError: If it raises.
        """
        with self._lock:
            self._threads = {thread for thread in self._threads if thread.is_alive()}
            if len(self._threads) >= self._most:
                raise LateError(f"{len(self._threads)} earlier calls have not returned yet")
        replies: SimpleQueue[tuple[bool, Any]] = SimpleQueue()
        thread = threading.Thread(target=_reply, args=(function, replies), daemon=True)
        thread.start()
        try:
            is_answer, value = replies.get(timeout=seconds)
        except Empty:
            with self._lock:
                self._threads.add(thread)
            raise LateError(f"took longer than {seconds:g} s") from None
        if is_answer:
            return value
        if isinstance(value, AskError):
            raise value
        raise AskError(f"raised {type(value).__name__}: {value}") from value


def threaded(function: Callable[[str], str]) -> Ask:
    """A function from prompt to answer as a way to ask.

    It must not hang inside C while it holds the interpreter: nothing could go on. Name such a one as `module:function`
    in an experts file, where it gets a process of its own.

    Args:
        function: May be called by several threads at once if requests are.
    """
    lost = Lost()

    def ask(prompt: str, limits: Limits, /) -> Reply:
        said = lost.call(lambda: function(prompt), limits.seconds)
        if not isinstance(said, str):
            raise AskError(f"answered with {type(said).__name__}, not with a text")
        return Reply(said)

    return ask


def _reply(function: Callable[[], Any], replies: SimpleQueue[tuple[bool, Any]]) -> None:
    try:
        replies.put((True, function()))
    except BaseException as error:  # noqa: BLE001 - whatever an expert raises costs one ask
        replies.put((False, error))
