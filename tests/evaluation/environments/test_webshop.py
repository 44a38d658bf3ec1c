"""WebShop's text interface. The real one cannot be had here: a stand-in answers as its documentation says."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from merganser.evaluation import Question, open_task
from merganser.evaluation.environments import EnvironmentSource, EnvironmentTask, WebShopText, webshop_goals

GOALS = [
    {"instruction_text": f"i need thing number {n}, and price lower than 20.00 dollars"} for n in range(30)
]


class StandIn:
    """Answers as `WebAgentTextEnv` does: a pair from `reset`, four values from `step`."""

    def __init__(self):
        self.server = SimpleNamespace(goals=GOALS)
        self.closed = False

    def reset(self, session=None, instruction_text=None):
        assert isinstance(session, int)  # only a number chooses the goal
        self.session, self.clicks = session, 0
        return f"WebShop [SEP] Instruction: [SEP] {GOALS[session]['instruction_text']} [SEP] Search", None

    def step(self, action):
        self.clicks += 1
        bought = action == "click[buy now]"
        reward = (4 / 3 if self.session == 1 else 0.75) if bought else 0
        return f"page {self.clicks}", reward, bought, None

    def close(self):
        self.closed = True


def make():
    return WebShopText(StandIn())


def asked(*questions):
    return EnvironmentTask("webshop", questions, EnvironmentSource("webshop", make))


def test_goals_are_sessions_and_rewards_are_at_most_one(tmp_path, pusher):
    rows = webshop_goals(StandIn(), range(30))
    assert rows[3] == {"question": GOALS[3]["instruction_text"], "session": "3"}
    (tmp_path / "goals.jsonl").write_text("\n".join(map(json.dumps, rows)))
    task = asked(*open_task(tmp_path / "goals.jsonl", None).search.questions)
    assert task.score(pusher("click[buy now]"), np.arange(3)).tolist() == [0.75, 1, 0.75]
    assert task.score(pusher("search[thing]"), np.arange(2)).tolist() == [0, 0]
    assert task.episodes(pusher("click[buy now]"), np.arange(1))[0].turns[0].observation.startswith("WebShop")


def test_the_environment_is_closed_after_the_episode(pusher):
    env = StandIn()
    source = EnvironmentSource("webshop", lambda: WebShopText(env))
    question = Question("i need a thing", fields={"session": "4"})
    EnvironmentTask("webshop", (question,), source).score(pusher("click[buy now]"), np.arange(1))
    assert env.closed


@pytest.mark.parametrize("fields", [{}, {"session": "x"}, {"session": "-1"}, {"session": "1.5"}])
def test_a_goal_without_its_session_costs_its_episode(pusher, fields):
    (found,) = asked(Question("i need a thing", fields=fields)).details(pusher(), np.arange(1))
    assert "with the number of its `session`" in found.reason
