"""An evolve file's task may be any reference: questions and task files beside arrays."""

import json

import pytest

from merganser import ConfigError
from merganser.run import read_settings
from merganser.run._plan import _open_task, make_plan


@pytest.fixture
def evolve_file(tmp_path):
    """An evolve file over a file of questions, a task file and digits."""
    rows = [{"question": f"{a} + {a}?", "answer": str(2 * a)} for a in range(40)]
    (tmp_path / "sums.jsonl").write_text("\n".join(map(json.dumps, rows + rows[:3])))
    (tmp_path / "heavy.yaml").write_text("data: sums.jsonl\nweight: 3\nscorer: likelihood\n")
    path = tmp_path / "evolve.yaml"
    path.write_text(
        "tasks: [{task: sums.jsonl}, {task: heavy.yaml}, {task: digits}]\nsplits: {test: 0.25, seed: 3}\n"
    )
    return path


def test_every_kind_of_task_is_opened_with_the_splits_of_the_run(evolve_file):
    settings = read_settings(evolve_file)
    sums, heavy, digits = (_open_task(t, settings) for t in settings.weighted_tasks)
    assert [len(t.samples) for t in (sums.search, sums.validation, sums.test)] == [24, 6, 10]
    assert (sums.weight, heavy.weight) == (1, 3)
    assert heavy.search.samples.hashes == sums.search.samples.hashes
    assert not heavy.search.binary
    assert len(digits.test.samples) == 360


def test_from_scratch_there_is_no_network_that_speaks(evolve_file):
    with pytest.raises(ConfigError, match="Give `models:` for this task"):
        make_plan(read_settings(evolve_file))
