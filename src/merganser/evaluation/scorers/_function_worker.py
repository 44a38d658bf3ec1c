"""Runs a user's scorer or environments in a process of its own; started by `_worker.py` as a script, never imported.

One JSON value a line. In: first `{"reference", "path", "seconds", "kind"}`, then the arguments of a call: `[sample,
text]` for a scorer, `["reset", sample]` and `["step", action]` for an environment. Out: first `{}` or `{"missing": …}`,
then `{"answer": …}` or `{"error": …}`. A watchdog in C ends the process when one call takes too long, even where the
interpreter itself hangs.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import sys
from contextlib import suppress
from typing import Any


def _scores(function: Any) -> Any:
    return lambda sample, text: float(function(sample, text))


def _environments(function: Any) -> Any:
    live: list[Any] = []

    def call(what: str, argument: Any) -> Any:
        if what == "reset":
            with suppress(Exception):  # the episode that is over has its reward already
                for old in live:
                    getattr(old, "close", lambda: None)()
            live[:] = [function()]
            return live[0].reset(argument)
        observation, reward, done = live[0].step(argument)
        return [observation, float(reward), bool(done)]

    return call


_KINDS = {"scorer": _scores, "environment": _environments}


def _answer(call: Any, arguments: Any) -> str:
    try:
        return json.dumps({"answer": call(*arguments)})
    except BaseException as error:  # noqa: BLE001 - whatever a user's function raises costs one call
        return json.dumps({"error": f"{type(error).__name__}: {error}"})


def _main() -> None:
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as replies, open(os.devnull, "w") as nowhere:  # noqa: PTH123
        os.dup2(2, 1)  # what the function prints must not mix with the replies

        def reply(line: str) -> None:
            replies.write(line + "\n")
            replies.flush()

        asked = json.loads(sys.stdin.buffer.readline())
        sys.path[:] = asked["path"]
        module, _, name = asked["reference"].partition(":")
        try:
            call = _KINDS[asked["kind"]](getattr(importlib.import_module(module), name))
        except Exception as error:  # noqa: BLE001 - said by the process that asked
            reply(json.dumps({"missing": f"{type(error).__name__}: {error}"}))
            return
        reply("{}")
        for line in sys.stdin.buffer:
            faulthandler.dump_traceback_later(asked["seconds"], exit=True, file=nowhere)
            answer = _answer(call, json.loads(line))
            faulthandler.cancel_dump_traceback_later()
            reply(answer)


if __name__ == "__main__":
    _main()
