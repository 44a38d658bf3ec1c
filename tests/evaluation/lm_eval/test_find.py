"""What stands behind a reference, and what is refused before any code of it runs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from merganser._errors import TaskError
from merganser.evaluation import LmEvalSettings, open_lm_eval

TRUSTED = LmEvalSettings(trust=True)


@pytest.fixture
def with_function(tasks):
    """A task file whose documents a Python file beside it prepares, which leaves a trace when it runs."""
    trace = tasks.folder / "it ran"
    (tasks.folder / "utils.py").write_text(
        f"from pathlib import Path\nPath({str(trace)!r}).touch()\ndef same(docs):\n    return docs\n"
    )
    file = tasks.best_word(**tasks.data(train=20, test=12))
    with Path(file).open("a") as f:
        f.write("process_docs: !function utils.same\n")
    return file, trace


def test_code_beside_a_task_file_runs_only_when_trusted(with_function):
    file, trace = with_function
    with pytest.raises(
        TaskError, match=r"line \d+: `!function utils.same` runs Python code .* `trust: true`"
    ):
        open_lm_eval(file)
    assert not trace.exists()
    assert len(open_lm_eval(file, TRUSTED).test.samples) == 12
    assert trace.exists()


def test_code_in_an_included_file_or_a_member_of_a_group_counts_too(tasks, with_function):
    file, trace = with_function
    including = tasks.folder / "including.yaml"
    including.write_text(f"include: {file}\ntask: including\n")
    group = tasks.folder / "group.yaml"
    group.write_text("group: all_words\ntask:\n- group: inner\n  task:\n  - best_word\n")
    for reference in (including, group):
        with pytest.raises(TaskError, match=r"best_word\.yaml, line"):
            open_lm_eval(str(reference))
    with pytest.raises(TaskError, match=r"best_word\.yaml, line"):
        open_lm_eval("best_word", LmEvalSettings(include_path=str(tasks.folder)))
    assert not trace.exists()


def test_a_template_cannot_reach_python(tasks):
    escape = "{{ ''.__class__.__mro__[1].__subclasses__() | length }}"
    file = tasks.best_word(**{**tasks.data(train=20, test=12), "doc_to_text": escape})
    with pytest.raises(TaskError, match="SecurityError"):
        open_lm_eval(file)


def test_python_objects_in_yaml_are_refused(tasks):
    file = tasks.best_word(**tasks.data(train=20, test=12))
    with Path(file).open("a") as f:
        f.write("metadata: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(TaskError, match=r"python/object/apply:os\.system"):
        open_lm_eval(file)


@pytest.mark.parametrize("entry", [{"metric": "rouge"}, {"metric": "exact_match", "hf_evaluate": True}])
def test_metrics_that_are_code_from_the_hub_are_refused(tasks, entry):
    file = tasks.next_word(**{**tasks.data(train=20, test=12), "metric_list": [entry]})
    with pytest.raises(TaskError, match=r"loaded as code from the Hugging Face Hub. Say `trust: true`"):
        open_lm_eval(file)


def test_where_choices_are_graded_such_a_metric_is_not_loaded_and_not_missed(tasks):
    import evaluate

    load = evaluate.load
    metrics = [{"metric": "f1", "hf_evaluate": True, "aggregation": "f1"}, {"metric": "acc"}]
    file = tasks.best_word(**{**tasks.data(train=20, test=12), "metric_list": metrics})
    assert open_lm_eval(file).test.metric.label == "acc,none"
    assert evaluate.load is load


def test_code_that_a_model_writes_is_never_run(tasks):
    file = tasks.next_word(**tasks.data(train=20, test=12), unsafe_code=True)
    with pytest.raises(TaskError, match="needs a sandbox"):
        open_lm_eval(file, TRUSTED)


def test_random_answers_are_refused(tasks):
    data = tasks.data(train=20, test=12)
    drawn = {"until": ["."], "do_sample": True, "temperature": 0.2}
    with pytest.raises(
        TaskError, match=r"at random \(do_sample, temperature 0.2\), and models here answer greedily"
    ):
        open_lm_eval(tasks.next_word(**{**data, "generation_kwargs": drawn}))
    with pytest.raises(TaskError, match="sets `repetition_penalty`"):
        open_lm_eval(
            tasks.next_word(**{**data, "generation_kwargs": {"until": ["."], "repetition_penalty": 2}})
        )


def test_pictures_are_refused(tasks):
    with pytest.raises(TaskError, match="shows images or sounds"):
        open_lm_eval(tasks.next_word(**tasks.data(train=20, test=12), doc_to_image="text"))


def test_an_unknown_name_has_suggestions(tasks):
    with pytest.raises(TaskError, match=r"no task, group or tag 'gsm8kk'\. Did you mean gsm8k"):
        open_lm_eval("lm-eval:gsm8kk")
    group = tasks.folder / "group.yaml"
    group.write_text("group: mine\ntask:\n- no_such_task_anywhere\n")
    with pytest.raises(TaskError, match="'no_such_task_anywhere' that mine names"):
        open_lm_eval(str(group))


def test_files_and_folders_that_are_none(tasks):
    with pytest.raises(TaskError, match="There is no task file"):
        open_lm_eval(str(tasks.folder / "nothing.yaml"))
    with pytest.raises(TaskError, match="must be a folder of task files"):
        open_lm_eval("gsm8k", LmEvalSettings(include_path=str(tasks.folder / "nowhere")))
    for content, message in [
        ("a: [", "cannot be read"),
        ("a: 1", "must name its `task:`"),
        ("- 1", "cannot be read"),
    ]:
        file = tasks.folder / "wrong.yaml"
        file.write_text(content)
        with pytest.raises(TaskError, match=message):
            open_lm_eval(str(file))


def test_missing_files_of_data_are_said(tasks):
    data = tasks.data(train=20, test=12)
    (tasks.folder / "test.jsonl").unlink()
    with pytest.raises(TaskError, match=r"could not set up .*FileNotFoundError.*Check its task file"):
        open_lm_eval(tasks.best_word(**data))


def test_data_that_are_not_there_offline_say_how_to_fetch_them(tmp_path):
    code = "from merganser.evaluation import open_lm_eval; open_lm_eval('lm-eval:gsm8k')"
    offline = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path),
        "HF_DATASETS_CACHE": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=offline, cwd=tmp_path, check=False
    )
    assert "TaskError: lm-eval could not set up gsm8k" in done.stderr
    assert "datasets.load_dataset('openai/gsm8k', 'main')" in done.stderr


def test_without_the_library_the_extra_is_named(tmp_path):
    (tmp_path / "lm_eval.py").write_text("raise ImportError('gone')\n")
    code = "from merganser.evaluation import open_lm_eval; open_lm_eval('lm-eval:gsm8k')"
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )
    assert "pip install 'merganser[lm-eval]'" in done.stderr
