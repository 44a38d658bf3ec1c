"""Episodes: played side by side, scored by their last reward, each failure costing one episode and saying why."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from merganser import ConfigError, TaskError, load
from merganser.evaluation import EnvironmentTask, Question, Task
from merganser.evaluation.environments import (
    Environment,
    EnvironmentSource,
    EpisodePrompt,
    Turn,
    environment_named,
)
from merganser.evaluation.environments.shop import Shop, catalogue, goals

STORIES = Path(__file__).parents[2] / "data" / "stories260k"
PLAIN = EpisodePrompt("{observation}>", "{action}", separator=" ", window=100)


@pytest.fixture
def door_task(doors):
    """Makes a task from goals."""

    def make(*questions, seconds=None, **changes):
        source = environment_named("my_doors:Door", seconds=seconds)
        return EnvironmentTask("doors", questions, source, **{"prompt": PLAIN, **changes})

    return make


def ids(task):
    return np.arange(len(task.questions))


def test_it_is_a_task_and_the_last_reward_is_the_score(door_task, goal, pusher):
    task = door_task(goal("one", 1), goal("three", 3), goal("ten", 10), steps=4)
    assert isinstance(task, Task)
    assert isinstance(task.source.make(), Environment)
    assert not task.binary
    assert task.score(pusher(), ids(task)).tolist() == [1, 1, 0.4]
    assert task.score(pusher(), np.array([2, 0])).tolist() == [0.4, 1]
    assert task.score(pusher("pull"), ids(task)).tolist() == [0, 0, 0]
    assert task.score(pusher(), ids(task)[:0]).shape == (0,)


def test_the_transcript_says_what_was_shown_and_done_and_why_it_ended(door_task, goal, pusher):
    task = door_task(goal("two", 2), goal("ten", 10), steps=3)
    first, second = task.details(pusher(), ids(task))
    assert (first.score, first.reason, first.response) == (1, "", "push\npush")
    assert first.record == {
        "ended": "done",
        "turns": [{"observation": "two", "action": "push"}, {"observation": "pushed 1", "action": "push"}],
        "last": "pushed 2",
    }
    assert (second.record["ended"], second.reason) == ("steps", "not done after 3 steps")


def test_all_that_go_on_act_in_one_batch_and_who_has_ended_leaves(door_task, goal, pusher):
    model = pusher()
    task = door_task(*(goal(f"door {n}", n) for n in (1, 3, 2)), prompt=dataclasses.replace(PLAIN, window=0))
    task.score(model, ids(task))
    assert model.rounds == [["door 1>", "door 3>", "door 2>"], ["pushed 1>", "pushed 1>"], ["pushed 2>"]]


def test_no_more_episodes_than_the_width_are_played_at_a_time(door_task, goal, pusher):
    task = door_task(*(goal(f"door {n}", n) for n in (1, 2, 3, 1, 2)))
    wide, narrow = pusher(), pusher()
    expected = task.episodes(wide, ids(task))
    assert dataclasses.replace(task, width=2).episodes(narrow, ids(task)) == expected
    assert (max(map(len, wide.rounds)), max(map(len, narrow.rounds))) == (5, 2)
    assert dataclasses.replace(task, width=2).digest == task.digest


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("reset", "the environment raised KeyError: 'no door'"),
        ("mute", "the environment showed NoneType, not a text"),
        ("raises", "the environment raised RuntimeError: the handle came off"),
        ("leaves", "the environment raised SystemExit: 3"),
        ("nan", "the environment gave a reward of nan, not a number in [0, 1]"),
        ("large", "the environment gave a reward of 1.5, not a number in [0, 1]"),
        ("negative", "the environment gave a reward of -0.1, not a number in [0, 1]"),
        ("picture", "the environment showed NoneType, not a text"),
    ],
)
@pytest.mark.parametrize("seconds", [None, 20])
def test_an_environment_that_fails_costs_its_episode(door_task, goal, pusher, fault, reason, seconds):
    task = door_task(goal("fine", 2), goal("faulty", 9, fault), goal("also fine", 3), seconds=seconds)
    found = task.episodes(pusher(), ids(task))
    assert [e.reward for e in found] == [1, 0, 1]
    assert (found[1].ended, found[1].reason) == ("raised", reason)
    assert len(found[1].turns) == (0 if fault in ("reset", "mute") else 2)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("word", "the environment gave str as reward, not a number in [0, 1]"),
        ("pair", "the environment answered with tuple of 2, not (observation, reward, done)"),
    ],
)
def test_an_answer_that_is_none_costs_its_episode(door_task, goal, pusher, fault, reason):
    task = door_task(goal("faulty", 9, fault))
    assert task.details(pusher(), ids(task))[0].reason == reason


def test_an_environment_that_cannot_be_closed_keeps_its_reward(door_task, goal, pusher):
    for seconds in (None, 20):
        task = door_task(goal("sticky", 1, "close"), goal("next", 1), seconds=seconds, width=1)
        assert task.score(pusher(), ids(task)).tolist() == [1, 1]


def test_a_step_that_never_ends_is_stopped_in_a_process_of_its_own(door_task, goal, pusher):
    task = door_task(goal("slow", 9, "hangs"), goal("dead", 9, "crashes"), goal("fine", 3), seconds=1)
    for _ in range(2):  # the processes that ended are replaced
        slow, dead, fine = task.episodes(pusher(), ids(task))
        assert (slow.reward, slow.ended, slow.reason) == (
            0,
            "seconds",
            "the environment took longer than 1 s",
        )
        assert (dead.ended, dead.reason) == ("raised", "the environment's process ended with code 7")
        assert fine.reward == 1


def test_an_episode_is_the_same_in_a_process_of_its_own(door_task, goal, pusher):
    here, elsewhere = (door_task(goal("a", 2), goal("b", 5), steps=4, seconds=s) for s in (None, 20))
    assert here.episodes(pusher(), ids(here)) == elsewhere.episodes(pusher(), ids(here))
    assert here.digest != elsewhere.digest


def test_a_function_that_makes_no_environment_costs_all_episodes_and_says_so(doors, goal, pusher):
    task = EnvironmentTask("doors", (goal("a", 1),), environment_named("my_doors:nothing"), PLAIN)
    assert "AttributeError: 'NoneType'" in task.details(pusher(), ids(task))[0].reason


@pytest.mark.parametrize("seconds", [None, 5])
@pytest.mark.parametrize("reference", ["my_doors:Window", "no_such_module:Door"])
def test_an_environment_that_is_not_there_is_told_at_once(doors, reference, seconds):
    with pytest.raises(ConfigError, match=reference):
        environment_named(reference, seconds=seconds)


@pytest.mark.parametrize(
    ("window", "kept"),
    [(0, ""), (2, ""), (3, "a"), (6, "a"), (7, "ad"), (10, "ad"), (11, "acd"), (99, "abcd")],
)
def test_the_first_turn_and_the_latest_stay_in_the_window(window, kept):
    turns = [Turn("--", "a"), Turn("----", "b"), Turn("---", "c"), Turn("---", "d")]
    found = EpisodePrompt(window=window).kept(turns)
    assert "".join(turn.action for turn in found) == kept


def test_prompts_by_template_and_by_chat(pusher):
    turns = [Turn("a door", "push")]
    plain = EpisodePrompt("See: {observation}\nDo:", system="Be strong.")
    assert plain.text(turns, "a wall") == "Be strong.\n\nSee: a door\nDo: push\n\nSee: a wall\nDo:"
    chat = EpisodePrompt("{observation}", chat=True, system="Be strong.")
    expected = "<system>Be strong.<user>a door<assistant>push<user>a wall<assistant>"
    assert chat.text(turns, "a wall", pusher().render) == expected
    with pytest.raises(ValueError, match="needs `render`"):
        chat.text(turns, "a wall")


def test_turns_are_left_out_until_an_action_fits_into_the_models_context(door_task, goal, pusher):
    """The room of this model is counted in characters."""
    model = pusher(room=45)
    task = door_task(goal("a long goal", 9), steps=5, max_tokens=10)
    task.episodes(model, ids(task))
    assert [prompts[0] for prompts in model.rounds] == [
        "a long goal>",
        "a long goal>push pushed 1>",
        "a long goal>push pushed 2>",
        "a long goal>push pushed 3>",
        "a long goal>push pushed 4>",
    ]
    (found,) = dataclasses.replace(task, max_tokens=36).episodes(pusher(room=45), ids(task))
    assert (found.ended, found.turns, found.reward) == ("tokens", (), 0)
    assert found.reason == "after 0 steps the model's context had no place for another action"


def test_a_model_that_has_become_nan_fails_as_a_whole(door_task, goal, broken):
    task = door_task(goal("a", 1))
    with pytest.raises(ArithmeticError, match="nan"):
        task.score(broken, ids(task))
    with pytest.raises(TypeError, match="does not answer texts"):
        task.score(object(), ids(task))


def test_tasks_without_goals_or_limits_are_refused(door_task, goal):
    with pytest.raises(TaskError, match="has no goals"):
        door_task()
    with pytest.raises(TaskError, match="1 goals are empty; the first is number 2"):
        door_task(goal("a", 1), Question(" "))
    for key in ("steps", "max_tokens", "width"):
        with pytest.raises(ValueError, match=f"`{key}` of doors must be at least 1, but is 0"):
            door_task(goal("a", 1), **{key: 0})
    with pytest.raises(ValueError, match="0 keeps no turns"):
        EpisodePrompt(window=-1)
    with pytest.raises(ConfigError, match=r"`answer` of an environment must hold `\{action\}`"):
        EpisodePrompt(answer="{observation}")


def test_the_digest_covers_what_decides_about_scores(door_task, goal, doors):
    task = door_task(goal("a", 1), goal("b", 2))
    assert door_task(goal("a", 1), goal("b", 2)).digest == task.digest
    others = [
        door_task(goal("a", 1), goal("b", 3)),
        door_task(goal("a", 1), goal("b", 2), steps=3),
        door_task(goal("a", 1), goal("b", 2), max_tokens=3),
        door_task(goal("a", 1), goal("b", 2), stop=()),
        door_task(goal("a", 1), goal("b", 2), prompt=EpisodePrompt(window=3)),
        task.part(task.questions[:1], "test"),
    ]
    doors.write_text(doors.read_text() + "\n# another source\n")
    others.append(door_task(goal("a", 1), goal("b", 2)))
    assert len({t.digest for t in [task, *others]}) == 8
    assert task.samples.hashes[0] != door_task(goal("a", 2)).samples.hashes[0]


def test_a_real_model_plays_the_same_episodes_whatever_the_width():
    found = catalogue(0, 50)
    task = EnvironmentTask(
        "shop",
        tuple(g.question() for g in goals(found, 0, 5)),
        EnvironmentSource("shop", lambda: Shop(found)),
        EpisodePrompt(window=200),
        steps=3,
        max_tokens=12,
        stop=(),
    )
    model = load(STORIES)
    wide = task.episodes(model, np.arange(5))
    assert [len(e.turns) for e in wide] == [3] * 5
    assert len({turn.action for e in wide for turn in e.turns}) > 1
    for width in (1, 2):
        assert dataclasses.replace(task, width=width).episodes(model, np.arange(5)) == wide
    assert task.episodes(model, np.array([3, 1])) == [wide[3], wide[1]]


def test_a_real_model_whose_context_is_full_ends_the_episode():
    model = load(STORIES)
    assert model.room("Once upon a time") < 512

    class Growing:
        def reset(self, sample):
            return "one"

        def step(self, action):
            return "once upon a time " * 200, 0.5, False

    task = EnvironmentTask(
        "growing", (Question("grow"),), EnvironmentSource("growing", Growing), max_tokens=4
    )
    (found,) = task.episodes(model, np.arange(1))
    assert (found.ended, len(found.turns), found.reward) == ("tokens", 1, 0.5)
