"""Training of a small thought machine: what is learnt, stopped and resumed, refused."""

import json
import os
from dataclasses import asdict, dataclass, replace

import pytest
import torch

from merganser import CheckpointError, OutputError, RunError
from merganser.evaluation import NonFiniteOutputError
from merganser.thinking import CTM, matched, open_thinker
from merganser.thinking.training import (
    Parity,
    Samples,
    ThinkingTraining,
    looks,
    open_thinking,
    train_thinking,
)

TASK = Parity(3)
TINY = TASK.config(
    ticks=3, neurons=16, width=8, heads=2, memory=3, hidden=2, output_neurons=8, action_neurons=8, dropout=0.1
)
SETTINGS = ThinkingTraining(steps=12, batch=8, warm_up=3, every=4, seed=5)
KILLED = """
import os, signal, sys
from merganser.thinking.training import Parity, ThinkingTraining, train_thinking
from merganser.thinking import BaselineConfig, CTMConfig
import json
of = json.loads(sys.argv[2])
config = (BaselineConfig if "kind" in of else CTMConfig).from_dict(of)
settings = ThinkingTraining(**json.loads(sys.argv[3]))
def watch(row):
    if row.step == int(sys.argv[4]):
        os.kill(os.getpid(), signal.SIGKILL)
train_thinking(Parity(3), config, sys.argv[1], settings, watch=watch)
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A training that nothing disturbed."""
    return train_thinking(TASK, TINY, tmp_path_factory.mktemp("whole") / "t", SETTINGS)


def facts(trained):
    """What must not depend on where a training was stopped."""
    rows = [{key: value for key, value in asdict(row).items() if key != "seconds"} for row in trained.rows]
    return rows, (trained.path / "model.safetensors").read_bytes(), trained.test, trained.halted


@pytest.mark.parametrize("steps", [[0], [2], [4, 6], [5, 11, 12]], ids=str)
def test_killed_at_any_step_and_called_again_it_ends_the_same_bit_for_bit(steps, whole, tmp_path, command):
    folder = tmp_path / "t"
    words = [json.dumps(TINY.to_dict()), json.dumps(asdict(SETTINGS))]
    for step in steps:
        command(folder, *words, step, program=KILLED, code=-9)
        with pytest.raises(RunError, match="is not over"):
            open_thinking(folder)
    assert facts(train_thinking(TASK, TINY, folder, SETTINGS)) == facts(whole)


@pytest.mark.parametrize("kind", ["lstm", "feed-forward"])
def test_a_baseline_that_was_killed_ends_the_same_bit_for_bit(kind, tmp_path, command):
    config = matched(TINY, kind)
    undisturbed = train_thinking(TASK, config, tmp_path / "whole", SETTINGS)
    words = [json.dumps(config.to_dict()), json.dumps(asdict(SETTINGS))]
    command(tmp_path / "t", *words, 5, program=KILLED, code=-9)
    again = train_thinking(TASK, config, tmp_path / "t", SETTINGS)
    assert facts(again) == facts(undisturbed)
    assert open_thinker(again.path).config == config
    assert [row.surest for row in again.rows[1:]] == [config.ticks] * 12


def test_a_checkpoint_is_tensors_and_json_and_the_only_one(whole):
    places = list((whole.folder / "checkpoint").iterdir())
    assert [place.name for place in places] == ["step-12"]
    assert sorted(file.name for file in places[0].iterdir()) == ["state.json", "state.safetensors"]


def test_the_model_is_that_of_the_last_step(whole):
    model = CTM.from_pretrained(whole.path)
    right = 0.0
    with torch.no_grad():
        model.eval()
        inputs, targets = TASK.test()
        thought = model(inputs)
        surest = thought.certainties.argmax(dim=1)
        for row, tick in enumerate(surest.tolist()):
            answer = thought.predictions[row, :, tick].reshape(3, 2).argmax(dim=1)
            right += (answer == targets[row]).double().mean().item() / len(inputs)
    assert right == pytest.approx(whole.test) == pytest.approx(whole.rows[-1].validation)


def test_it_looks_where_it_is_asked_to(whole):
    assert [row.step for row in looks(whole.rows)] == [0, 4, 8, 12]
    assert all(len(row.positions) == 3 and len(row.certainties) == 3 for row in looks(whole.rows))
    assert [row.step for row in whole.rows] == list(range(13))
    assert all(1 <= row.best <= 3 and row.gradient > 0 for row in whole.rows[1:])


def test_called_once_more_it_gives_what_came_of_it_and_takes_no_step(whole):
    seen = []
    again = train_thinking(TASK, TINY, whole.folder, SETTINGS, watch=seen.append)
    assert not seen
    assert facts(again) == facts(whole) == facts(open_thinking(whole.folder))


def test_it_learns_and_stops_when_everything_is_right(tmp_path):
    task = Parity(2)
    config = task.config(ticks=4, neurons=32, width=16, memory=4, output_neurons=16, action_neurons=16)
    settings = ThinkingTraining(steps=400, batch=32, learning_rate=1e-2, warm_up=20, every=20)
    trained = train_thinking(task, config, tmp_path / "t", settings)
    assert (trained.stopped, trained.test, trained.whole) == ("enough", 1.0, 1.0)
    assert trained.rows[-1].step < 400


def test_it_leaves_random_numbers_of_others_alone(tmp_path):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    train_thinking(TASK, TINY, tmp_path / "t", replace(SETTINGS, steps=2))
    assert torch.equal(torch.rand(3), expected)


def test_time_that_is_up_ends_it_after_a_look(tmp_path):
    trained = train_thinking(TASK, TINY, tmp_path / "t", replace(SETTINGS, seconds=1e-9))
    assert trained.stopped == "seconds"
    assert trained.rows[-1].step < SETTINGS.every
    assert trained.rows[-1].whole is not None


@dataclass(frozen=True)
class Flip:
    """A task of somebody's own: each sign by itself."""

    length: int
    name, classes, look_ahead = "flip", 2, None

    @property
    def positions(self):
        return self.length

    def batch(self, size, *, seed, step):
        inputs = Parity(self.length).batch(size, seed=seed, step=step).inputs
        return Samples(inputs, (inputs < 0).long())

    def validation(self):
        return self.batch(16, seed=0, step=0)

    test = validation


def test_a_task_of_ones_own_is_trained_on(tmp_path):
    trained = train_thinking(Flip(3), TINY, tmp_path / "t", SETTINGS)
    assert json.loads((tmp_path / "t" / "training.json").read_text())["of"]["task"] == {
        "kind": "flip",
        "length": 3,
    }
    assert trained.rows[-1].step == 12
    with pytest.raises(RunError, match="holds no training of a thought machine"):
        open_thinking(tmp_path / "t")


class TestRefusals:
    def test_other_settings(self, whole):
        with pytest.raises(RunError, match=r"`settings.batch` was 8 there, and is 9 now"):
            train_thinking(TASK, TINY, whole.folder, replace(SETTINGS, batch=9))

    def test_a_folder_of_other_things(self, tmp_path):
        (tmp_path / "thesis.txt").touch()
        with pytest.raises(OutputError, match="exists and holds no training"):
            train_thinking(TASK, TINY, tmp_path, SETTINGS)

    def test_a_model_that_answers_something_else(self, tmp_path):
        with pytest.raises(ValueError, match=r"asks for 4 answers .* gives 3 of 2. Set `positions` to 4"):
            train_thinking(Parity(4), TINY, tmp_path / "t", SETTINGS)
        assert not (tmp_path / "t").exists()

    def test_a_loss_that_is_no_number(self, tmp_path):
        with pytest.raises(NonFiniteOutputError, match=r"The loss of step \d+ is (nan|inf)"):
            train_thinking(TASK, TINY, tmp_path / "t", replace(SETTINGS, learning_rate=1e30, clip=None))

    def test_a_damaged_checkpoint(self, tmp_path, command):
        words = [json.dumps(TINY.to_dict()), json.dumps(asdict(SETTINGS))]
        command(tmp_path / "t", *words, 5, program=KILLED, code=-9)
        file = tmp_path / "t" / "checkpoint" / "step-4" / "state.safetensors"
        os.truncate(file, file.stat().st_size // 2)
        with pytest.raises(CheckpointError):
            train_thinking(TASK, TINY, tmp_path / "t", SETTINGS)

    @pytest.mark.parametrize("wrong", [{"steps": 0}, {"clip": 0.0}, {"warm_up": -1}, {"enough": -1.0}])
    def test_numbers_out_of_range(self, wrong):
        with pytest.raises(ValueError, match=f"`{next(iter(wrong))}`"):
            ThinkingTraining(**wrong)


def test_a_training_begins_with_a_model_that_is_there(tmp_path):
    first = train_thinking(Parity(4), None, tmp_path / "first", replace(SETTINGS, steps=6, every=3))
    again = train_thinking(
        Parity(4), None, tmp_path / "again", replace(SETTINGS, steps=1, learning_rate=1e-9), start=first.path
    )
    assert again.rows[0].validation == first.rows[-1].validation
    begun, ended = (CTM.from_pretrained(each.path).state_dict() for each in (first, again))
    assert all(torch.allclose(begun[name], ended[name], atol=1e-6) for name in begun)
    with pytest.raises(ValueError, match="Both a start and a configuration"):
        train_thinking(Parity(4), Parity(4).config(), tmp_path / "third", start=first.path)
    with pytest.raises(ValueError, match="asks for 5 answers"):
        train_thinking(Parity(5), None, tmp_path / "third", start=first.path)
