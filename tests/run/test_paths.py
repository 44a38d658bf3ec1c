"""Paths through blocks evolve as any other genome; a second search may begin with the winner of the first."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from merganser import CheckpointError, ConfigError, RunError, load
from merganser.evaluation import open_task
from merganser.merging import Hop, LayerPath, materialise, read_recipe, verify
from merganser.run import RunDirectory, evolve, evolve_settings, export, list_runs, parse_settings, resume
from merganser.run._path_genome import path_search, path_space
from merganser.weights import open_checkpoint

pytest.importorskip("transformers")
pytest.importorskip("cmaes")

STORIES = Path(__file__).parents[1] / "data" / "stories260k"
PATHS = {"kind": "path", "repeats": 2}
SEARCH = {"method": "cat-cma", "population": 4}


def damaged(folder, *blocks):
    """The stories model with noise in some of its blocks."""
    shutil.copytree(STORIES, folder)
    generator, tensors = torch.Generator().manual_seed(len(folder.name)), {}
    for name, tensor in load_file(STORIES / "model.safetensors").items():
        spoilt = any(f".layers.{block}." in name for block in blocks)
        noise = torch.randn(tensor.shape, generator=generator) * tensor.std()
        tensors[name] = (tensor + 2 * noise if spoilt else tensor).contiguous()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return str(folder)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Each has what the other lacks: blocks 1 and 2, or block 3."""
    folder = tmp_path_factory.mktemp("models")
    return [damaged(folder / "first", 1, 2), damaged(folder / "second", 3)]


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """Beginnings of stories, asked how probable their ends are."""
    beginnings = (
        "Once upon a time, there was a",
        "Tom was sad because he",
        "The sun was",
        "She gave her mom a",
    )
    ends = (" little girl named Lily.", " lost his toy.", " bright and warm.", " big hug.")
    rows = [{"question": f"Day {i}. {beginnings[i % 4]}", "answer": ends[i % 4]} for i in range(40)]
    path = tmp_path_factory.mktemp("tasks") / "stories.yaml"
    path.with_suffix(".jsonl").write_text("\n".join(map(json.dumps, rows)))
    path.write_text("data: stories.jsonl\nscorer: likelihood\ntemplate: '{question}'\nanswer: '{answer}'\n")
    return str(path)


def run_settings(models, task, **changes):
    data = {
        "models": models,
        "task": task,
        "genome": PATHS,
        "search": SEARCH,
        "budget": {"evaluations": 30},
        **changes,
    }
    return parse_settings(data)


def test_a_path_is_found_and_written_as_an_ordinary_model(tmp_path, models, task):
    settings = run_settings(models, task, baselines=["linear"])
    outcome = evolve_settings(settings, run=tmp_path / "run", out=tmp_path / "winner")
    assert (outcome.finished, outcome.failures, outcome.evaluations) == (True, 0, 30)
    recipe = read_recipe(RunDirectory(tmp_path / "run").recipe_path(outcome.winner.digest))
    assert isinstance(recipe, LayerPath)
    assert outcome.path == recipe
    assert outcome.winner.validation > max(parent.validation for parent in outcome.parents)
    assert verify(tmp_path / "winner").is_same
    written = load(tmp_path / "winner")
    assert len(written.module.model.layers) == len(recipe.hops)
    test = open_task(task).test
    scores = test.score(written, np.arange(len(test.samples)))
    assert scores.mean() == pytest.approx(outcome.winner.test.value, abs=1e-4)
    [average] = outcome.baselines
    merged = evolve(models, task, search="random", budget=2, baselines=["linear"], run=tmp_path / "plain")
    assert (average, outcome.parents[1].test) == (merged.baselines[0], merged.parents[1].test)


@pytest.mark.parametrize("method", ["cat-cma", "cma-es"])
@pytest.mark.parametrize("asked", [True, False])
def test_ties_are_broken_as_the_settings_say(models, task, method, asked):
    genome = {**PATHS, "scales": "matrix"} if method == "cat-cma" else PATHS
    settings = run_settings(models, task, genome=genome, search={"method": method, "tie_breaker": asked})
    space = path_space(settings, [open_checkpoint(model) for model in models])
    assert path_search(settings, space, np.ones(4)).tie_breaker == asked


def test_parents_are_seeds_and_a_run_that_was_stopped_ends_as_an_undisturbed_one(
    tmp_path, models, task, contents
):
    settings = run_settings(models, task)
    whole = evolve_settings(settings, run=tmp_path / "whole")
    assert [p.digest for p in whole.parents] == [
        LayerPath.whole([load_digest(model)], 5).digest for model in models
    ]
    short = run_settings(models, task, budget={"evaluations": 11})
    evolve_settings(short, run=tmp_path / "parts")
    resume(tmp_path / "parts", budget=17)
    again = resume(tmp_path / "parts", budget=30)
    children, scores, _, _, _ = contents(tmp_path / "whole")
    assert contents(tmp_path / "parts")[0] == children
    assert set(contents(tmp_path / "parts")[1]) >= set(scores)
    assert again.winner == whole.winner


def load_digest(model):
    from merganser.weights import open_checkpoint

    return open_checkpoint(model).digest


def test_a_second_search_begins_with_the_winner_of_the_first(tmp_path, models, task):
    settings = run_settings(
        models,
        task,
        genome={"method": "linear", "genes": {"weight": [0, 1]}, "groups": "layer"},
        search={"method": "cma-es", "population": 6},
        budget={"evaluations": 27},
        then={"genome": PATHS, "search": SEARCH, "budget": {"evaluations": 12}},
    )
    outcome = evolve_settings(settings, run=tmp_path / "run", out=tmp_path / "model")
    first = RunDirectory(tmp_path / "run")
    with first.journal() as journal:
        found = journal.outcome()["winner"]
    assert outcome.run == first.next.path
    assert [parent.name for parent in outcome.parents] == ["winner", "first", "second"]
    assert outcome.winner.validation >= outcome.parents[0].validation
    assert load_digest(first.path / "winner") == export(first.path, tmp_path / "again", recipe=found).digest
    assert verify(tmp_path / "model").is_same
    assert {Path(each.run).name for each in list_runs(tmp_path)} == {"run", "then"}
    with pytest.raises(RunError, match="this very run, finished"):
        evolve_settings(settings, run=tmp_path / "run")
    longer = resume(tmp_path / "run", budget=16)
    assert (longer.run, longer.evaluations) == (first.next.path, 16)


def test_a_chain_goes_on_wherever_it_was_stopped(tmp_path, models, task):
    chain = {
        "search": {"method": "random"},
        "budget": {"evaluations": 6},
        "then": {"genome": PATHS, "search": SEARCH, "budget": {"evaluations": 9}},
    }
    settings = run_settings(models, task, genome={}, **chain)
    whole = evolve_settings(settings, run=tmp_path / "whole")

    def stop(evolution):
        if evolution.done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evolve_settings(settings, run=tmp_path / "run", progress=stop)  # at the end of the first search
    assert not (tmp_path / "run" / "then").exists()
    with pytest.raises(KeyboardInterrupt):
        resume(tmp_path / "run", progress=stop)  # at the end of the second
    shutil.rmtree(tmp_path / "run" / "winner")
    assert whole.evaluations == 9
    assert resume(tmp_path / "run", budget=10).winner == resume(tmp_path / "whole", budget=10).winner


def test_models_of_other_depth_take_part_and_of_other_width_do_not(tmp_path, models, task):
    short = LayerPath.whole([load_digest(models[0])], 3)
    materialise(short, [models[0]], out=tmp_path / "short")
    outcome = evolve_settings(
        run_settings([models[0], str(tmp_path / "short")], task, budget={"evaluations": 6}),
        run=tmp_path / "run",
    )
    assert outcome.failures == 0
    wide = {"hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": 4, "intermediate_size": 32}
    other = fresh(tmp_path / "wide", **wide)
    with pytest.raises(CheckpointError, match="Expected blocks of one shape"):
        evolve_settings(run_settings([models[0], other], task), run=tmp_path / "refused")
    assert not (tmp_path / "refused").exists()


def fresh(folder, **changes):
    from transformers import AutoConfig, LlamaForCausalLM

    config = AutoConfig.from_pretrained(STORIES)
    for key, value in changes.items():
        setattr(config, key, value)
    config.head_dim = config.hidden_size // config.num_attention_heads
    LlamaForCausalLM(config).save_pretrained(folder)
    shutil.copy(STORIES / "tokenizer.json", folder)
    return str(folder)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"search": {"method": "natural-niches"}}, "`search: {method: cat-cma}`"),
        ({"genome": {}, "search": SEARCH}, "`genome: {kind: path}` beside it"),
        ({"genome": {"repeats": 2}, "search": {"method": "random"}}, "`genome.repeats` is for paths"),
        ({"genome": PATHS | {"method": "ties"}}, "`genome.method` is for merges by rule"),
        ({"genome": PATHS | {"chromosomes": "component"}}, "`genome.chromosomes` is for combinations"),
        (
            {"genome": {}, "search": {}, "then": {"genome": PATHS, "search": {"method": "ga"}}},
            "`ga` does not search paths",
        ),
        ({"task": "digits", "models": "scratch"}, "blocks of language models"),
    ],
)
def test_what_does_not_go_together_is_said(tmp_path, models, task, changes, says):
    given = {"models": models, "task": task, **changes}
    with pytest.raises(ConfigError, match=says):
        evolve_settings(run_settings(**given), run=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_model_listed_twice_is_refused(tmp_path, models, task):
    with pytest.raises(ConfigError, match="List it once: `repeats`"):
        evolve_settings(run_settings([models[0], models[0]], task), run=tmp_path / "run")


def test_a_search_survives_scales_beyond_all_bounds(tmp_path, models, task):
    genome = PATHS | {"scales": "matrix", "unit": 500.0}
    outcome = evolve_settings(
        run_settings(models, task, genome=genome, search={"method": "random"}), run=tmp_path / "run"
    )
    assert outcome.finished
    assert outcome.winner.test.value >= outcome.parents[0].test.value


def test_a_path_knows_its_shortest_form():
    path = LayerPath(("a", "b", "c"), (Hop(0, 0), Hop(2, 1), Hop(0, 2)), "handed")
    assert path.trimmed() == LayerPath(("a", "c"), (Hop(0, 0), Hop(1, 1), Hop(0, 2)))
