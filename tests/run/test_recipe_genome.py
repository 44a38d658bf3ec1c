"""Runs whose candidates are merges by rule."""

import json
from pathlib import Path

import pytest

from merganser import ConfigError, RunError, materialise, read_recipe, save, verify
from merganser.evaluation import SplitRule, read_arrays, split_arrays
from merganser.evolution import random_start
from merganser.interop import parse_mergekit, to_yaml
from merganser.models import perceptron_size, perceptron_tensors, train_perceptron
from merganser.run import (
    RunDirectory,
    evolve,
    export,
    parse_settings,
    read_settings,
    resume,
    sources_of_run,
)
from merganser.weights import Checkpoint, open_checkpoint

WIDTHS = (64, 24, 10)
PAPER = {"method": "dare_ties", "genes": {"weight": [0, 1], "density": [0, 1]}}


@pytest.fixture(scope="module")
def family(tmp_path_factory, small_npz):
    """A base that has seen a little of everything, and two specialists tuned from it; as files."""
    folder = tmp_path_factory.mktemp("family")
    task = split_arrays(read_arrays(str(small_npz)), SplitRule()).search
    inputs, labels = task.inputs.reshape(len(task.inputs), -1), task.samples.labels
    base = train_perceptron(random_start(0, 0, perceptron_size(WIDTHS)), WIDTHS, inputs[:60], labels[:60])

    def write(name, flat):
        return str(save(Checkpoint.from_tensors(perceptron_tensors(flat, WIDTHS)), folder / name).path)

    files = {"base": write("base.safetensors", base)}
    for name, first, last in (("low", 0, 4), ("high", 5, 9)):
        mine = (labels >= first) & (labels <= last)
        flat = train_perceptron(base, WIDTHS, inputs[mine], labels[mine])
        files[name] = write(f"{name}.safetensors", flat)
    return files


@pytest.fixture(scope="module")
def finished(family, small_npz, tmp_path_factory):
    """A finished run as in the paper, by layer."""
    folder = tmp_path_factory.mktemp("finished")
    genome = {**PAPER, "base": family["base"], "groups": "layer"}
    outcome = search(family, small_npz, folder / "run", genome, budget=80, out=folder / "out")
    return folder, outcome


def search(family, task, run, genome, method="cma-es", **options):
    models = [family["low"], family["high"]]
    return evolve(models, str(task), search={"method": method}, genome=genome, run=run, **options)


def test_the_winner_is_a_merge_that_beats_the_untuned_one_and_the_parents(finished):
    _, outcome = finished
    assert outcome.winner.search > max(p.search for p in (outcome.untuned, *outcome.parents)) + 0.1
    assert outcome.untuned.test is not None
    assert outcome.failures == 0
    assert outcome.to_json()["untuned"]["name"] == "untuned"


def test_the_winner_rebuilt_from_its_recipe_is_the_same_model(finished, tmp_path):
    folder, outcome = finished
    path = RunDirectory(folder / "run").recipe_path(outcome.winner.digest)
    assert materialise(read_recipe(path)).digest == outcome.checkpoint.digest
    assert export(folder / "run", tmp_path / "again").digest == outcome.checkpoint.digest
    assert read_recipe(folder / "out" / "recipe.json") == read_recipe(path)
    assert (folder / "out" / "model.safetensors").is_file()


def test_the_winner_is_a_mergekit_file_too(finished):
    folder, _ = finished
    text = to_yaml(read_recipe(folder / "out" / "recipe.json"))
    [config] = parse_mergekit(text)
    assert config.blueprint.method == "dare_ties"
    density = config.blueprint.slices[0].sources[0].settings["density"]
    assert len(density.cases) == 2


def test_the_run_cites_the_method_and_the_paper_whose_search_it_is(finished):
    folder, _ = finished
    restarts = "https://doi.org/10.1109/CEC.2005.1554902"
    assert sources_of_run(folder / "run") == ("1604.00772", "2403.13187", restarts, "2311.03099")


def test_nothing_is_evaluated_twice(family, small_npz, tmp_path):
    genome = {"method": "ties", "base": family["base"], "genes": {"scope": None}}
    outcome = search(family, small_npz, tmp_path / "run", genome, "brute-force")
    assert outcome.evaluations == 5
    whole = {**genome, "genes": {"lambda": [0, 1]}, "parameters": {"density": 1.0}}
    outcome = search(family, small_npz, tmp_path / "other", whole, "random", budget=30)
    with RunDirectory(tmp_path / "other").journal() as journal:
        measured = {child.recipe: child.measured for child in journal.children()}
    assert len(measured) == 30
    assert sum(measured.values()) == outcome.samples_measured


def test_a_candidate_met_before_is_noted_with_its_score(family, small_npz, tmp_path):
    genome = {"method": "linear", "genes": {"normalize": None}, "parameters": {"weight": (0.3, 0.4)}}
    search(family, small_npz, tmp_path / "run", genome, "random", budget=12)
    with RunDirectory(tmp_path / "run").journal() as journal:
        children = list(journal.children())
    first = {child.recipe: child for child in reversed(children)}
    again = [child for child in children if child is not first[child.recipe]]
    assert len(again) >= 7
    assert all(child.measured == 0 and child.score == first[child.recipe].score > 0 for child in again)


def test_a_base_that_changed_stops_a_resumed_run(family, small_npz, tmp_path):
    base = tmp_path / "base.safetensors"
    base.write_bytes(Path(family["base"]).read_bytes())
    genome = {**PAPER, "base": str(base)}
    search(family, small_npz, tmp_path / "run", genome, "random", budget=5)
    base.write_bytes(Path(family["low"]).read_bytes())
    with pytest.raises(RunError, match=r"The parent 'base' at .* changed"):
        resume(tmp_path / "run", budget=10)


def test_the_winner_is_written_as_the_file_says_and_verifies(family, small_npz, tmp_path):
    output = {"dtype": "float16", "donor": family["high"]}
    genome = {**PAPER, "base": family["base"]}
    run, out = tmp_path / "run", tmp_path / "out"
    outcome = search(family, small_npz, run, genome, "random", budget=6, output=output, out=out)
    recipe = read_recipe(out / "recipe.json")
    assert (recipe.blueprint.dtype, recipe.blueprint.donor) == ("float16", 2)
    written = open_checkpoint(out)
    assert {written.spec(name).dtype for name in written} == {"F16"}
    assert written.digest == outcome.checkpoint.digest == export(run, tmp_path / "again").digest
    assert verify(out).is_same
    resume(run, budget=8, out=tmp_path / "longer")
    assert read_recipe(tmp_path / "longer" / "recipe.json").blueprint.dtype == "float16"


@pytest.mark.parametrize(
    ("genome", "output", "error", "message"),
    [
        ({}, {"dtype": "float16"}, ConfigError, "`output` says how merges by rule are written"),
        (PAPER, {"donor": "elsewhere"}, ConfigError, "`output.donor` must be one of the models or the base"),
        (PAPER, {"tokenizer": "elsewhere"}, ConfigError, "`output.tokenizer` must be one of the models"),
        (PAPER, {"dtype": "int8"}, ValueError, "int8"),
        (PAPER, {"dtyp": "float16"}, ConfigError, "Did you mean `dtype`"),
    ],
)
def test_an_output_that_cannot_be_is_told_before_anything_starts(
    family, small_npz, tmp_path, genome, output, error, message
):
    named = {**genome, "base": family["base"]} if genome else genome
    with pytest.raises(error, match=message):
        search(family, small_npz, tmp_path / "run", named, "random", budget=5, output=output)
    assert not (tmp_path / "run").exists()


def test_generations_whose_candidates_all_score_the_same_are_a_warning(family, small_npz, tmp_path):
    genome = {"method": "task_arithmetic", "base": family["base"], "genes": {"weight": [0, 1e-9]}}
    outcome = search(family, small_npz, tmp_path / "run", genome, budget=20)
    assert "generations all candidates scored the same" in outcome.warnings[0]


@pytest.mark.parametrize(
    ("genome", "method", "error", "message"),
    [
        (PAPER, "natural-niches", ConfigError, "`natural-niches` crosses models"),
        ({"kind": "recipe"}, "cma-es", ConfigError, "A recipe needs a `method`"),
        ({"genes": {"weight": None}}, "cma-es", ConfigError, "`genome.genes` is for merges by rule"),
        ({**PAPER, "kind": "dense"}, "cma-es", ConfigError, "`genome.method` is for merges by rule"),
        ({**PAPER, "method": "dare_tie"}, "cma-es", ValueError, "dare_ties"),
        (PAPER, "cma-es", ValueError, "works on differences from a base model, but none was given"),
        ({"method": "slerp", "genes": {"t": None}}, "cma-es", ValueError, "at least 2 dimensions"),
        ({**PAPER, "groups": {"x": ["nowhere"]}}, "cma-es", ValueError, "The group `x` has no tensors"),
        ({**PAPER, "groups": "block"}, "cma-es", ConfigError, "genome.groups"),
        ({**PAPER, "gene": {}}, "cma-es", ConfigError, "Did you mean `genes`"),
    ],
)
def test_misuse_is_told_before_anything_starts(family, small_npz, tmp_path, genome, method, error, message):
    with pytest.raises(error, match=message):
        search(family, small_npz, tmp_path / "run", genome, method, budget=5)
    assert not (tmp_path / "run").exists()


def test_a_file_says_the_same_and_its_base_is_taken_from_where_it_lies(family, tmp_path):
    (tmp_path / "base.safetensors").write_bytes(Path(family["base"]).read_bytes())
    genome = {**PAPER, "base": "base.safetensors", "groups": {"first": ["layers.0."]}, "shared": ["density"]}
    path = tmp_path / "evolve.yaml"
    output = {"donor": "base.safetensors", "tokenizer": "union"}
    path.write_text(json.dumps({"task": "digits", "genome": genome, "output": output}))
    settings = read_settings(path)
    assert settings.output.donor == str(tmp_path / "base.safetensors")
    assert settings.output.tokenizer == "union"
    assert settings.genome.base == str(tmp_path / "base.safetensors")
    assert settings.genome.is_recipe
    assert parse_settings(json.loads(json.dumps(settings.to_json()))) == settings
