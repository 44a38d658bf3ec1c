"""Runs a user's scorer in a process of its own; started by `_function.py` as a script, never imported.

One JSON value a line. In: first `{"reference", "path", "seconds"}`, then `[sample, text]`. Out: first `{}` or
`{"missing": …}`, then `{"score": …}` or `{"error": …}`. A watchdog in C ends the process when one call takes too long,
even where the interpreter itself hangs.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import sys
from typing import Any


def _answer(function: Any, sample: Any, text: str) -> dict[str, Any]:
    try:
        return {"score": float(function(sample, text))}
    except BaseException as error:  # noqa: BLE001 - whatever a user's function raises costs one sample
        return {"error": f"{type(error).__name__}: {error}"}


def _main() -> None:
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as replies, open(os.devnull, "w") as nowhere:  # noqa: PTH123
        os.dup2(2, 1)  # what the function prints must not mix with the replies

        def reply(value: dict[str, Any]) -> None:
            replies.write(json.dumps(value) + "\n")
            replies.flush()

        asked = json.loads(sys.stdin.buffer.readline())
        sys.path[:] = asked["path"]
        module, _, name = asked["reference"].partition(":")
        try:
            function = getattr(importlib.import_module(module), name)
        except Exception as error:  # noqa: BLE001 - said by the process that asked
            reply({"missing": f"{type(error).__name__}: {error}"})
            return
        reply({})
        for line in sys.stdin.buffer:
            faulthandler.dump_traceback_later(asked["seconds"], exit=True, file=nowhere)
            answer = _answer(function, *json.loads(line))
            faulthandler.cancel_dump_traceback_later()
            reply(answer)


if __name__ == "__main__":
    _main()
