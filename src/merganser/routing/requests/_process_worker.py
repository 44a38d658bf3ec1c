"""Runs one function in a process of its own; started by `_process.py` as a script, never imported.

One JSON value a line. In: first `{"reference", "path", "seconds"}`, then `{"arguments", "seconds"}`. Out: `{"answer"}`
or `{"error"}`. Who asks ends the process when a call takes too long; should nobody be left to do so, a watchdog in C
does, some seconds later.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import sys
from collections.abc import Callable
from typing import Any

_GRACE = 5.0  # seconds


def _answer(call: Callable[..., Any], arguments: list[Any]) -> str:
    try:
        return json.dumps({"answer": call(*arguments)})
    except BaseException as error:  # noqa: BLE001 - whatever an expert raises costs one call
        return json.dumps({"error": f"{type(error).__name__}: {error}"})


def _main() -> None:
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as replies, open(os.devnull, "w") as nowhere:  # noqa: PTH123
        os.dup2(2, 1)  # what the function prints must not mix with the replies
        function: Any = None

        def found(reference: str) -> None:
            nonlocal function
            module, _, name = reference.partition(":")
            function = getattr(importlib.import_module(module), name)

        for line in sys.stdin.buffer:
            asked = json.loads(line)
            faulthandler.dump_traceback_later(asked["seconds"] + _GRACE, exit=True, file=nowhere)
            if "reference" in asked:
                sys.path[:] = asked["path"]
                reply = _answer(found, [asked["reference"]])
            else:
                reply = _answer(function, asked["arguments"])
            faulthandler.cancel_dump_traceback_later()
            replies.write(reply + "\n")
            replies.flush()


if __name__ == "__main__":
    _main()
