"""Experts evolve: the base is loaded once, children are scales, and the winner is an expert's file."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from merganser import CheckpointError, ConfigError, RunError, load
from merganser import open as open_model
from merganser.adaptation import ExpertVector, decompose, fold, open_expert, save_expert
from merganser.evaluation import open_task
from merganser.run import evolve, evolve_settings, export, make_plan, parse_settings, read_settings, resume

pytest.importorskip("transformers")

STORIES = Path(__file__).parents[1] / "data" / "stories260k"
IDS = torch.tensor([[1, 403, 407, 261, 378, 432]])
OPENINGS = [
    ("Once upon a time, there was a little", " girl named Lily."),
    ("Tom was sad because he lost", " his toy."),
    ("The sun was bright and the", " birds sang."),
    ("She gave her mom a big", " hug."),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two experts of the stories model that adapt different matrices, and two files of questions."""
    place = tmp_path_factory.mktemp("experts")
    factors = decompose(open_model(STORIES))
    for seed, (name, layers) in enumerate({"calm": "01234", "wild": "123"}.items()):
        chosen = [n for n in factors if n.split(".")[2] in layers]
        generator = torch.Generator().manual_seed(seed)
        logits = {n: torch.randn(len(factors[n].sigma), generator=generator) / 2 for n in chosen}
        save_expert(ExpertVector.from_logits(logits, factors), place / f"{name}.safetensors")
    rng = np.random.default_rng(0)
    for task, first in {"endings": 0, "more": 40}.items():
        rows = []
        for i in range(first, first + 40):
            opening, ending = OPENINGS[i % 4]
            wrong = " " + " ".join(rng.permutation([*ending.split(), "dog", "tree"]))
            choices = [ending, wrong] if i % 8 < 4 else [wrong, ending]
            answer = choices.index(ending)
            rows.append({"question": f"Story {i}. {opening}", "choices": choices, "answer": answer})
        (place / f"{task}.jsonl").write_text("\n".join(map(json.dumps, rows)))
        (place / f"{task}.yaml").write_text(
            f"data: {task}.jsonl\nscorer: choice:probability\ntemplate: '{{question}}'\nanswer: '{{choice}}'\n"
        )
    return place


def settings_of(folder, names=("calm", "wild"), **keys):
    files = [str(folder / f"{name}.safetensors") if name != "base" else str(STORIES) for name in names]
    tasks = [{"task": str(folder / f"{name}.yaml")} for name in ("endings", "more")]
    data = {"models": files, "adapt": {"base": str(STORIES)}, "tasks": tasks, "budget": {"evaluations": 9}}
    return parse_settings(data | keys)


GENOMES = {
    "combination": {},
    "dense": {"kind": "dense", "mutation": 0.1},
    "bands": {"kind": "dense", "mutation": 0.1, "bands": 3},
}
CROSSING = ("natural-niches", "ga", "map-elites", "nsga2", "cma-es", "random")
RECIPES = {
    "whole": {"method": "task_arithmetic", "genes": {"weight": [-1, 2]}},
    "tensor": {"method": "task_arithmetic", "genes": {"weight": [-1, 2]}, "groups": "tensor"},
    "linear": {"method": "linear", "genes": {"weight": [0, 1]}, "groups": "layer"},
    "ties": {"method": "ties", "genes": {"weight": None, "density": None}, "groups": "component"},
}


def logits_of(model):
    with torch.no_grad():
        return model.module(IDS).logits


def check_equal(found, expected):
    """Up to what float32 rounds: 1e-5 of the largest logit."""
    torch.testing.assert_close(found, expected, atol=1e-5 * expected.abs().max().item(), rtol=0)


@pytest.mark.parametrize("method", CROSSING)
@pytest.mark.parametrize("genome", GENOMES)
def test_every_search_takes_experts_and_its_children_are_folded_models(folder, genome, method):
    settings = settings_of(
        folder, ("calm", "base", "wild"), genome=GENOMES[genome], search={"method": method, "population": 4}
    )
    plan = make_plan(settings)
    search, seen = plan.search, []
    while len(seen) < 5:
        search, proposals = search.ask(1)
        rows = []
        for proposal in proposals:
            model = plan.bring_to_life(proposal.genome)
            seen.append(proposal.genome.digest)
            rows.append(row_of(plan, model))
        search = search.tell(proposals, rows)
    assert len(set(seen[3:])) == len(seen[3:]), "children differ from each other"
    scales = plan.checkpoint(proposals[-1].genome)
    assert all((scales.read(name) > 0).all() for name in scales)
    folded = load(fold(plan.adapted.base, plan.adapted.expert(scales)))
    check_equal(logits_of(model), logits_of(folded))
    assert (logits_of(model) - logits_of(load(STORIES))).abs().max() > 1e-3


def row_of(plan, model):
    from merganser.evolution import Row

    task = plan.splits.search
    return Row(np.asarray(task.score(model, np.arange(len(task.samples)))))


@pytest.mark.parametrize("method", ["nsga2", "cma-es", "random"])
@pytest.mark.parametrize("genome", RECIPES)
def test_weights_of_experts_evolve_as_genes(folder, genome, method):
    plan = make_plan(settings_of(folder, genome=RECIPES[genome], search={"method": method}))
    space = plan.space
    vector = np.random.default_rng(0).random(len(space.genes))
    model = plan.bring_to_life(space.decode(vector))
    expert = plan.adapted.expert(plan.checkpoint(space.decode(vector)))
    folded = load(fold(plan.adapted.base, expert))
    check_equal(logits_of(model), logits_of(folded))
    if genome == "tensor":
        assert len(space.genes) == 2 * len(plan.adapted.digests)


def test_weights_of_a_recipe_are_those_of_a_mixture(folder):
    from merganser.adaptation import mix

    plan = make_plan(settings_of(folder, genome=RECIPES["whole"], search={"method": "random"}))
    found = plan.adapted.expert(plan.checkpoint(plan.space.decode(np.array([0.5, 0.9]))))
    experts = [open_expert(folder / f"{name}.safetensors") for name in ("calm", "wild")]
    expected = mix(experts, [0.5, 1.7])
    for name in expected:
        torch.testing.assert_close(found.gains(name), expected.gains(name), atol=1e-6, rtol=0)


def test_the_base_among_the_models_is_the_base_bit_for_bit(folder):
    plan = make_plan(settings_of(folder, ("base", "wild"), genome=GENOMES["dense"]))
    assert torch.equal(logits_of(plan.bring_to_life(plan.space.seeds[0])), logits_of(load(STORIES)))


@pytest.mark.parametrize("genome", [*GENOMES.values(), RECIPES["ties"]])
def test_a_run_resumes_to_the_identical_journal_without_the_experts_files(folder, tmp_path, genome, contents):
    mine = shutil.copytree(folder, tmp_path / "mine")
    method = "cma-es" if "method" in genome else "natural-niches"
    keys = {"genome": genome, "search": {"method": method, "population": 3}, "baselines": ["linear", "ties"]}
    if "method" in genome:
        keys["baselines"] = ["linear"]
    settings = settings_of(mine, **keys)
    whole = evolve_settings(settings, run=tmp_path / "whole")
    part = parse_settings(settings.to_json() | {"budget": {"evaluations": 5}})
    evolve_settings(part, run=tmp_path / "parts")
    for name in ("calm", "wild"):
        (mine / f"{name}.safetensors").unlink()
    resume(tmp_path / "parts", budget=9)
    children, _, _, outcome, _ = contents(tmp_path / "parts")
    assert children == contents(tmp_path / "whole")[0]
    assert outcome == contents(tmp_path / "whole")[3]
    assert whole.failures == 0
    assert {each.name for each in whole.baselines} == set(keys["baselines"])


@pytest.mark.parametrize("genome", ["combination", "bands"])
def test_the_winners_file_has_the_winners_score(folder, tmp_path, genome):
    settings = settings_of(folder, genome=GENOMES[genome])
    outcome = evolve_settings(settings, run=tmp_path / "run", out=tmp_path / "best.safetensors")
    expert = open_expert(tmp_path / "run" / "expert.safetensors")
    assert expert.facts["recipe"] == outcome.winner.digest
    assert expert.facts["test"] == outcome.winner.test.value
    again = open_expert(tmp_path / "best.safetensors")
    assert all(torch.equal(again.gains(name), expert.gains(name)) for name in expert)
    export(tmp_path / "run", tmp_path / "model")
    tests = [open_task(folder / f"{name}.yaml").test for name in ("endings", "more")]
    model = load(tmp_path / "model")
    scores = [task.score(model, np.arange(len(task.samples))).mean() for task in tests]
    assert np.mean(scores) == pytest.approx(outcome.winner.test.value, abs=1e-5)


def test_workers_find_what_one_process_finds_with_as_many_in_flight(folder, tmp_path, contents):
    settings = settings_of(folder, workers=2, subset={"samples": 8, "every": 4})
    first = evolve_settings(settings, run=tmp_path / "first")
    evolve_settings(settings, run=tmp_path / "second")
    assert first.failures == 0
    assert contents(tmp_path / "first") == contents(tmp_path / "second")


def test_an_expert_of_another_base_is_refused_with_both_digests(folder, tmp_path):
    other = shutil.copytree(STORIES, tmp_path / "other")
    tensors = {name: t * 1.5 for name, t in load_file(STORIES / "model.safetensors").items()}
    save_file(tensors, other / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"expected .* with digest [0-9a-f]{64}, .* has [0-9a-f]{64}"):
        make_plan(settings_of(folder, adapt={"base": str(other)}))


def test_a_run_notices_that_its_base_changed(folder, tmp_path):
    mine = shutil.copytree(STORIES, tmp_path / "base")
    settings = settings_of(folder, adapt={"base": str(mine)}, budget={"evaluations": 3})
    evolve_settings(settings, run=tmp_path / "run")
    tensors = {name: t * 1.5 for name, t in load_file(STORIES / "model.safetensors").items()}
    save_file(tensors, mine / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(RunError, match=r"The base at .* changed"):
        resume(tmp_path / "run", budget=5)


def test_experts_evolve_over_a_base_in_half_precision(folder, tmp_path):
    half = shutil.copytree(STORIES, tmp_path / "half")
    tensors = {name: t.bfloat16() for name, t in load_file(STORIES / "model.safetensors").items()}
    save_file(tensors, half / "model.safetensors", metadata={"format": "pt"})
    factors = decompose(open_model(half))
    generator = torch.Generator().manual_seed(0)
    gains = {n: torch.randn(len(factors[n].sigma), generator=generator) / 5 for n in factors}
    save_expert(ExpertVector.from_gains(gains, factors.digests), tmp_path / "expert.safetensors")
    models = [str(tmp_path / "expert.safetensors"), str(half)]
    for dtype in (None, "float32"):
        keys = {"adapt": {"base": str(half)}, "dtype": dtype, "budget": {"evaluations": 2}}
        settings = settings_of(folder, models=models, **keys)
        outcome = evolve_settings(settings, run=tmp_path / f"run-{dtype}")
        assert outcome.failures == 0
        assert any("`dtype: float32`" in note for note in make_plan(settings).notes) == (dtype is None)
    assert open_expert(outcome.run / "expert.safetensors").base == factors.digests


def test_from_python_and_from_a_file(folder, tmp_path):
    file = tmp_path / "evolve.yaml"
    shutil.copy(folder / "calm.safetensors", tmp_path)
    (tmp_path / "base").symlink_to(STORIES)
    file.write_text(
        f"models: [calm.safetensors, base]\nadapt: {{base: base, cache: kept}}\ntask: {folder / 'more.yaml'}\n"
        "budget: {evaluations: 4}\n"
    )
    first = evolve_settings(read_settings(file), run=tmp_path / "one")
    assert list((tmp_path / "kept").glob("*.safetensors"))
    models = [tmp_path / "calm.safetensors", tmp_path / "base"]
    task = str(folder / "more.yaml")
    second = evolve(models, task, adapt=tmp_path / "base", budget=4, run=tmp_path / "two")
    assert first.winner == second.winner
    with pytest.raises(TypeError, match="Checkpoint"):
        evolve([open_model(STORIES)], task, adapt=STORIES, budget=4)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"models": "scratch"}, "`models` that are no files"),
        ({"genome": {"kind": "path"}}, "kind: path"),
        ({"genome": {"base": "x"}}, "`adapt.base` is already"),
        ({"output": {"dtype": "bfloat16"}}, "no `output`"),
        ({"then": {}}, "no `then`"),
        ({"genome": {"bands": 3}}, "Say `kind: dense`"),
        ({"adapt": None}, "is an expert"),
        ({"adapt": None, "models": [str(STORIES)], "genome": {"bands": 3}}, "Say `kind: dense`"),
        ({"task": "digits", "tasks": []}, "classifies arrays"),
    ],
)
def test_what_does_not_fit_experts_is_said(folder, keys, expected):
    with pytest.raises(ConfigError, match=expected):
        make_plan(settings_of(folder, **keys))


@pytest.mark.parametrize("method", ["natural-niches", "cma-es"])
def test_experts_evolve_from_the_base_alone(folder, tmp_path, method):
    settings = settings_of(folder, ("base",), genome=GENOMES["bands"], search={"method": method})
    outcome = evolve_settings(settings, run=tmp_path / "run")
    assert outcome.failures == 0
    expert = open_expert(tmp_path / "run" / "expert.safetensors")
    assert set(expert) == set(decompose(open_model(STORIES)))
    assert len({gain.item() for gain in next(iter(expert.vectors.values()))}) <= 3


def test_scales_that_are_not_positive_have_no_logarithm(folder, tmp_path):
    calm = open_expert(folder / "calm.safetensors")
    name = next(iter(calm))
    gains = {name: torch.full_like(calm.gains(name), -1.5)}
    save_expert(ExpertVector.from_gains(gains, calm.base), tmp_path / "flip.safetensors")
    models = [str(folder / "calm.safetensors"), str(tmp_path / "flip.safetensors")]
    with pytest.raises(ConfigError, match=r"flip\.safetensors has the scale -0\.5"):
        make_plan(settings_of(folder, models=models, genome=GENOMES["dense"]))
    make_plan(settings_of(folder, models=models))
