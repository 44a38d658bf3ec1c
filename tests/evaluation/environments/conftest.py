"""A user's module of environments, and models that act: by a table, or by counting."""

import sys
import textwrap

import pytest

from merganser.evaluation import Question
from merganser.models import Response

SOURCE = """
    import os, time

    class Door:
        '''Opens after so many pushes; the reward says how far it is. Its goals say what goes wrong, and when.'''

        def reset(self, sample):
            self.needed, self.pushed = int(sample["fields"]["pushes"]), 0
            self.fault = sample["fields"].get("fault", "")
            if self.fault == "reset":
                raise KeyError("no door")
            if self.fault == "mute":
                return None
            return sample["question"]

        def step(self, action):
            self.pushed += action == "push"
            if self.fault and self.pushed == 2:
                return self.fail()
            share = self.pushed / self.needed
            return f"pushed {self.pushed}", share, self.pushed == self.needed

        def fail(self):
            if self.fault == "raises":
                raise RuntimeError("the handle came off")
            if self.fault == "leaves":
                raise SystemExit(3)
            if self.fault == "hangs":
                time.sleep(60)
            if self.fault == "crashes":
                os._exit(7)
            if self.fault == "pair":
                return "pushed", 0.5
            reward = {"nan": float("nan"), "large": 1.5, "negative": -0.1, "word": "much"}.get(self.fault, 0.5)
            return None if self.fault == "picture" else "pushed", reward, False

        def close(self):
            if self.fault == "close":
                raise OSError("stuck")

    def nothing():
        return None
"""


@pytest.fixture
def doors(tmp_path, monkeypatch):
    """A module `my_doors` of the user's."""
    (tmp_path / "my_doors.py").write_text(textwrap.dedent(SOURCE))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_doors", raising=False)
    return tmp_path / "my_doors.py"


@pytest.fixture
def goal():
    """Makes a goal of `my_doors`."""

    def make(text, pushes, fault=""):
        return Question(text, fields={"pushes": str(pushes), "fault": fault})

    return make


class Pusher:
    """Always does the same, and keeps what it was asked."""

    def __init__(self, action="push", room=None):
        self.action, self.rounds = action, []
        if room is not None:
            self.room = lambda prompt: room - len(prompt)

    def generate(self, requests):
        self.rounds.append([r.prompt for r in requests])
        return [Response(f" {self.action}", 1, "stop") for _ in requests]

    def log_likelihoods(self, requests):
        raise NotImplementedError

    def render(self, messages):
        return "".join(f"<{m['role']}>{m['content']}" for m in messages) + "<assistant>"


class Table(Pusher):
    """Knows what to do about each prompt."""

    def __init__(self, actions):
        super().__init__()
        self.actions = actions

    def generate(self, requests):
        return [Response(self.actions[r.prompt], 1, "stop") for r in requests]


@pytest.fixture
def pusher():
    """Makes a model that always does the same."""
    return Pusher


@pytest.fixture
def table():
    """Makes a model from prompts and actions."""
    return Table
