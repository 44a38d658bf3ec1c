"""Files of several documents: planned before anything is read, carried out one after the other, gone on with."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import merganser
from merganser import CheckpointError, save
from merganser._errors import ConfigError, OutputError
from merganser.interop.mergekit import merge_mergekit, plan_mergekit, to_yaml
from merganser.merging import RECIPE_NAME, read_recipe

MODELS = Path(__file__).parent / "goldens" / "models"

DOCUMENTS = """\
name: task vectors
merge_method: task_arithmetic
base_model: {base}
models: [{{model: {a}}}, {{model: {b}}}]
parameters: {{weight: 0.5}}
---
merge_method: linear
models: [{{model: a stack/of ours}}, {{model: {b}}}]
parameters: {{weight: [0.5, 0.25]}}
---
name: a stack/of ours
merge_method: slerp
base_model: task vectors
slices:
- sources: [{{model: task vectors, layer_range: [0, 2]}}, {{model: {c}, layer_range: [0, 2]}}]
- sources: [{{model: task vectors, layer_range: [2, 4]}}, {{model: {c}, layer_range: [2, 4]}}]
parameters: {{t: 0.25}}
"""

ONE_BY_ONE = ["task vectors", "a stack/of ours", None]


class Stop(Exception):
    """The user has enough."""


@pytest.fixture
def models():
    return {name: MODELS / name for name in ("base", "a", "b", "c")}


@pytest.fixture
def file(tmp_path, models):
    path = tmp_path / "merge.yaml"
    path.write_text(DOCUMENTS.format(**models))
    return path


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def stage_folders(tmp_path):
    return sorted(path for path in (tmp_path / ".out.stages").iterdir() if (path / RECIPE_NAME).exists())


def state_of(folder):
    """What tells whether a folder's files were written anew."""
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.iterdir()}


def stopping_after(tmp_path, count):
    """Stops in the stage that follows so many others."""

    def progress(_):
        if (tmp_path / ".out.stages").exists() and len(stage_folders(tmp_path)) >= count:
            raise Stop

    return progress


# planning


def test_stages_are_planned_in_the_order_of_need(file):
    stages = plan_mergekit(file)
    assert [stage.config.name for stage in stages] == ONE_BY_ONE
    assert [stage.plan.method_name for stage in stages] == ["task_arithmetic", "slerp", "linear"]
    specs = [[target.spec for target in stage.plan.targets] for stage in stages]
    assert specs[0] == specs[1] == specs[2]


def test_planning_reads_headers_only(file, tmp_path, models):
    for name in models:
        (tmp_path / name).mkdir()
        for each in (MODELS / name).iterdir():
            (tmp_path / name / each.name).write_bytes(each.read_bytes())
        weights = tmp_path / name / "model.safetensors"
        header = 8 + int.from_bytes(weights.read_bytes()[:8], "little")
        with weights.open("r+b") as opened:
            opened.seek(header)
            opened.write(b"\xff" * (weights.stat().st_size - header))
    file.write_text(DOCUMENTS.format(**{name: tmp_path / name for name in models}))
    before = names_in(tmp_path)
    [*_, last] = plan_mergekit(file)
    assert last.plan.bytes_out > 0
    assert names_in(tmp_path) == before
    with pytest.raises(CheckpointError, match=r"is not made yet"):
        last.plan.inputs[0].read("model.norm.weight")
    with pytest.raises(CheckpointError, match=r"NaN"):
        merge_mergekit(file, tmp_path / "out")


def test_what_does_not_fit_a_later_stage_is_found_before_the_first_one_is_made(file, tmp_path):
    file.write_text(
        file.read_text().replace("task vectors, layer_range: [2, 4]", "task vectors, layer_range: [3, 5]")
    )
    before = names_in(tmp_path)
    with pytest.raises(
        ConfigError, match=r"merge\.yaml, line 16: .*5 \(exclusive\) of task vectors.* 4 blocks"
    ):
        merge_mergekit(file, tmp_path / "out")
    assert names_in(tmp_path) == before


def test_an_output_that_may_not_be_replaced_is_found_before_the_first_stage_is_made(file, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").touch()
    before = names_in(tmp_path)
    with pytest.raises(OutputError, match="out"):
        merge_mergekit(file, tmp_path / "out")
    assert names_in(tmp_path) == before


# carrying out


def test_stages_make_what_single_merges_would(file, tmp_path, models):
    merged = merge_mergekit(file, tmp_path / "out")
    first, second, last = DOCUMENTS.format(**models).split("---\n")
    places = {"task vectors": tmp_path / "first", "a stack/of ours": tmp_path / "second"}
    (tmp_path / "1.yaml").write_text(first)
    (tmp_path / "2.yaml").write_text(last.replace(": task vectors", f": {places['task vectors']}"))
    (tmp_path / "3.yaml").write_text(second.replace("a stack/of ours", str(places["a stack/of ours"])))
    for number, place in enumerate([*places.values(), tmp_path / "third"], 1):
        alone = merge_mergekit(tmp_path / f"{number}.yaml", place)
    assert merged.digest == alone.digest


def test_only_the_result_stays(file, tmp_path):
    merge_mergekit(file, tmp_path / "out")
    assert names_in(tmp_path) == ["merge.yaml", "out"]


def test_the_recipe_nests_those_of_the_stages_and_rebuilds_without_their_folders(file, tmp_path, models):
    merge_mergekit(file, tmp_path / "out")
    recipe = read_recipe(tmp_path / "out" / RECIPE_NAME)
    stack, b = recipe.ingredients
    assert (stack.reference, b.reference) == (None, str(models["b"]))
    vectors, c = stack.recipe.ingredients
    assert (vectors.reference, c.reference) == (None, str(models["c"]))
    assert [each.reference for each in vectors.recipe.ingredients] == [
        str(models[n]) for n in ("base", "a", "b")
    ]
    found = merganser.verify(tmp_path / "out")
    assert (found.is_same, found.tensors) == (True, len(merganser.open(tmp_path / "out")))


def test_the_recipe_written_as_yaml_makes_the_same_again(file, tmp_path):
    merged = merge_mergekit(file, tmp_path / "out")
    (tmp_path / "again.yaml").write_text(to_yaml(read_recipe(tmp_path / "out" / RECIPE_NAME)))
    assert merge_mergekit(tmp_path / "again.yaml", tmp_path / "again").digest == merged.digest


# going on


def test_what_is_finished_is_not_made_again(file, tmp_path):
    undisturbed = merge_mergekit(file, tmp_path / "undisturbed").digest
    with pytest.raises(Stop):
        merge_mergekit(file, tmp_path / "out", progress=stopping_after(tmp_path, 1))
    [first] = stage_folders(tmp_path)
    before = state_of(first)
    with pytest.raises(Stop):
        merge_mergekit(file, tmp_path / "out", progress=stopping_after(tmp_path, 2))
    assert len(stage_folders(tmp_path)) == 2
    assert state_of(first) == before
    assert merge_mergekit(file, tmp_path / "out").digest == undisturbed
    assert names_in(tmp_path) == ["merge.yaml", "out", "undisturbed"]


KILLED = """
import os, signal, sys
from pathlib import Path
from merganser.interop.mergekit import merge_mergekit
path, out = map(Path, sys.argv[1:])
stages = out.with_name(".out.stages")
def progress(_):
    if any(stages.glob("*/recipe.json")):
        os.kill(os.getpid(), signal.SIGKILL)
merge_mergekit(path, out, progress=progress)
"""


def test_a_kill_between_stages_loses_nothing_that_is_whole(file, tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED, file, tmp_path / "out"], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    [first] = stage_folders(tmp_path)
    before = state_of(first)
    states = []
    merge_mergekit(file, tmp_path / "out", progress=lambda _: states.append(state_of(first)))
    assert states
    assert all(state == before for state in states)
    assert names_in(tmp_path) == ["merge.yaml", "out"]


def test_a_stage_of_another_merge_is_made_anew(file, tmp_path):
    with pytest.raises(Stop):
        merge_mergekit(file, tmp_path / "out", progress=stopping_after(tmp_path, 1))
    file.write_text(file.read_text().replace("weight: 0.5}", "weight: 0.75}"))
    expected = merge_mergekit(file, tmp_path / "undisturbed").digest
    assert merge_mergekit(file, tmp_path / "out").digest == expected


def test_a_stage_of_a_model_that_has_changed_since_is_made_anew(tmp_path):
    generator = torch.Generator().manual_seed(0)
    weights = {name: torch.randn(5000, generator=generator) for name in "abc"}
    for name, values in weights.items():
        save({"model.layers.0.w": values}, tmp_path / name)
    linear = (
        f"merge_method: linear\nparameters: {{weight: 1}}\nmodels: [{{model: {tmp_path}/a}}, {{model: %s}}]\n"
    )
    file = tmp_path / "merge.yaml"
    file.write_text(f"name: first\n{linear % (tmp_path / 'b')}---\n{linear % 'first'}")
    with pytest.raises(Stop):
        merge_mergekit(file, tmp_path / "out", progress=stopping_after(tmp_path, 1))
    weights["b"][1000] += 1  # where a quick look does not look
    save({"model.layers.0.w": weights["b"]}, tmp_path / "b", overwrite=True)
    expected = merge_mergekit(file, tmp_path / "undisturbed").digest
    assert merge_mergekit(file, tmp_path / "out").digest == expected


def test_a_later_stage_knows_the_chat_template_of_an_earlier_one(tmp_path, models):
    path = tmp_path / "merge.yaml"
    linear = f"merge_method: linear\nparameters: {{weight: 1}}\nmodels: [{{model: {models['b']}}}, {{model: %s}}]\n"
    path.write_text(
        f"name: first\nchat_template: chatml\n{linear % models['a']}---\nchat_template: auto\n{linear % 'first'}"
    )
    merge_mergekit(path, tmp_path / "out")
    assert "<|im_start|>" in (tmp_path / "out" / "chat_template.jinja").read_text()
