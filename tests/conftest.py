"""What all tests share: a cache of their own, and small real data."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "house", deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("house")


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory):
    """Digests are remembered in a folder of this session's own, by child processes too."""
    before = os.environ.get("MERGANSER_CACHE")
    os.environ["MERGANSER_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["MERGANSER_CACHE"]
    else:
        os.environ["MERGANSER_CACHE"] = before


@pytest.fixture(scope="session")
def small_npz(tmp_path_factory):
    """300 training and 100 test images of the digits as an npz file: starts without scikit-learn."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images = images.astype(np.float32)
    path = tmp_path_factory.mktemp("data") / "small.npz"
    np.savez(path, x_train=images[:300], y_train=labels[:300], x_test=images[300:400], y_test=labels[300:400])
    return path


SERVER = """
import atexit, contextlib, importlib, io, json, os, resource, sys, types
import torch
import merganser.cli._merge
from merganser.cli import main

def run(words, program=None):
    sys.argv = ["merganser", *words]
    try:
        if program is None:
            main()
        else:
            sys.modules["__main__"] = types.ModuleType("__main__")
            exec(compile(program, "<program>", "exec"), vars(sys.modules["__main__"]))
    except SystemExit as end:
        return end.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()

with contextlib.redirect_stdout(io.StringIO()):
    run(["methods"])  # what is imported now need not be again
for line in sys.stdin:
    asked = json.loads(line)
    if "wait" in asked:
        print(os.waitstatus_to_exitcode(os.waitpid(asked["wait"], 0)[1]), flush=True)
        continue
    if "modules" in asked:
        for name in asked["modules"]:
            importlib.import_module(name)
        print(0, flush=True)
        continue
    child = os.fork()
    if not child:
        os.chdir(asked["cwd"])
        for stream, file in enumerate([os.devnull, *asked["streams"]]):
            os.dup2(os.open(file, os.O_RDWR | os.O_CREAT | os.O_TRUNC), stream)
        if asked["largest"] is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (asked["largest"], asked["largest"]))
        code = run(asked["words"], asked["program"]) or 0
        atexit._run_exitfuncs()
        os._exit(code)  # to tidy up after torch would take a second
    print(child, flush=True)
os._exit(0)
"""
HEAVY = (  # what commands and pages about evolution and language models import
    "merganser.comparison",
    "merganser.decision",
    "merganser.report",
    "merganser.run",
    "sklearn.datasets",
    "transformers.models.auto.tokenization_auto",
    "transformers.models.llama.modeling_llama",
)


class Done(NamedTuple):
    """What a command left behind."""

    code: int
    stdout: str
    stderr: str


class Commands:
    """`merganser …` and programs, each in a process of its own, forked off one that has torch already.

    A command that computes would otherwise wait seconds for torch, and longer for transformers.
    """

    def __init__(self, folder):
        self._folder, self._count = folder, 0
        self._server = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "COLUMNS": "200", "TERM": "xterm", "HF_DATASETS_OFFLINE": "1"},
        )
        self._streams = {}

    def start(self, *words, cwd=None, largest=None, program=None):
        """Begin a command; gives its process id.

        Args:
            words: What follows `merganser`.
            cwd: Where it runs.
            largest: Bytes that a file may have.
            program: Python to run in place of the command; the words are its arguments.
        """
        self._count += 1
        streams = [str(self._folder / f"{self._count}.{name}") for name in ("out", "err")]
        for file in streams:
            Path(file).touch()  # a command may be killed before it has opened them
        asked = {"words": [*map(str, words)], "cwd": str(cwd or self._folder), "streams": streams}
        pid = self._ask({**asked, "largest": largest, "program": program})
        self._streams[pid] = streams
        return pid

    def preload(self):
        """From now on processes have what is heavy already; gives itself."""
        self._ask({"modules": HEAVY})
        return self

    def wait(self, pid):
        """Wait for the end of a command; a signal that ended it is a negative code."""
        code = self._ask({"wait": pid})
        return Done(code, *(Path(file).read_text() for file in self._streams.pop(pid)))

    def __call__(self, *words, code=0, **options):
        """Run a command that must end with this code."""
        done = self.wait(self.start(*words, **options))
        assert done.code == code, done
        return done

    def close(self):
        """End the server."""
        self._server.communicate()

    def _ask(self, message):
        self._server.stdin.write(json.dumps(message) + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())


@pytest.fixture(scope="session")
def command(tmp_path_factory, _cache):
    """Runs the command with these words; see `Commands`."""
    commands = Commands(tmp_path_factory.mktemp("commands"))
    yield commands
    commands.close()


@pytest.fixture(scope="session")
def heavy_command(command):
    """The same, for commands and programs that need more than torch."""
    return command.preload()
