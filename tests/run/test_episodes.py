"""Models evolve in an environment, and some episodes of winner and parents are kept to be read."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from merganser.evaluation import open_task
from merganser.report import run_info, write_report
from merganser.run import RunDirectory, ToldGoal, evolve

STORIES = Path(__file__).parents[1] / "data" / "stories260k"
SOURCE = """
class Vowels:
    '''Two words; the reward is the share of vowels in what was said. One goal in ten cannot be reset.'''

    def reset(self, sample):
        if sample["question"].endswith("0"):
            raise ValueError("no such story")
        self.said = ""
        return sample["question"]

    def step(self, action):
        self.said += action
        return "go on", sum(c in "aeiou" for c in self.said) / max(len(self.said), 1), False
"""


@pytest.fixture(scope="module")
def near(tmp_path_factory):
    """A model near the stories model."""
    folder = tmp_path_factory.mktemp("models") / "near"
    shutil.copytree(STORIES, folder)
    generator = torch.Generator().manual_seed(1)
    tensors = load_file(STORIES / "model.safetensors")
    noisy = {n: t + 0.5 * t.std() * torch.randn(t.shape, generator=generator) for n, t in tensors.items()}
    save_file(noisy, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture
def task(tmp_path, monkeypatch):
    """The reference of a task of 30 goals in an environment of the user's."""
    (tmp_path / "my_vowels.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    rows = [{"question": f"Once upon a time, number {n}"} for n in range(30)]
    (tmp_path / "goals.jsonl").write_text("\n".join(map(json.dumps, rows)))
    path = tmp_path / "vowels.yaml"
    path.write_text("environment: my_vowels:Vowels\ndata: goals.jsonl\nsteps: 2\nmax_tokens: 4\nstop: []\n")
    return str(path)


def test_winner_and_parents_are_told_on_the_same_test_goals(task, near, tmp_path):
    outcome = evolve([STORIES, near], task, budget=4, run=tmp_path / "run")
    assert outcome.winner.search > 0
    assert outcome.failures == 0
    with RunDirectory(tmp_path / "run").journal() as journal:
        told = tuple(map(ToldGoal.from_json, journal.episodes()))
    assert len(told) == 3
    tested = open_task(task).test
    assert {goal.goal for goal in told} <= {q.text for q in tested.questions}
    for goal in told:
        assert [e.model for e in goal.episodes] == ["winner", *(p.name for p in outcome.parents)]
        assert all(e.turns[0][0] == goal.goal and len(e.turns) == 2 for e in goal.episodes)
        assert all(e.reason == "not done after 2 steps" for e in goal.episodes)
    assert len({e.score for goal in told for e in goal.episodes}) > 1
    assert run_info(tmp_path / "run").episodes == told
    page = write_report(tmp_path / "run").read_text()
    assert "Episodes to read" in page
    assert told[0].goal in page


def test_workers_score_the_same_and_keep_no_episodes(task, near, tmp_path):
    here = evolve([STORIES, near], task, budget=3, run=tmp_path / "here")
    there = evolve([STORIES, near], task, budget=3, workers=2, run=tmp_path / "there")
    assert [p.test for p in there.parents] == [p.test for p in here.parents]
    assert run_info(tmp_path / "there").episodes == ()
