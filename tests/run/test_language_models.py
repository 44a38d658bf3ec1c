"""Language models evolve: one resident model, seeds on disk, and a winner that is exactly its recipe."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from merganser import CheckpointError, ConfigError, load, verify
from merganser.evaluation import open_task
from merganser.merging import materialise, read_recipe
from merganser.run import RunDirectory, evolve, evolve_settings, export, make_plan, parse_settings, resume

pytest.importorskip("transformers")

STORIES = Path(__file__).parents[1] / "data" / "stories260k"
OPENINGS = [
    ("Once upon a time, there was a little", " girl named Lily."),
    ("Tom was sad because he lost", " his toy."),
    ("The sun was bright and the", " birds sang."),
    ("She gave her mom a big", " hug."),
]


def tuned(folder, seed, scale=0.25, **changes):
    """A model near the stories model: noise in the place of a fine-tune."""
    shutil.copytree(STORIES, folder)
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        name: (tensor + scale * tensor.std() * torch.randn(tensor.shape, generator=generator)).contiguous()
        for name, tensor in load_file(STORIES / "model.safetensors").items()
    }
    tensors |= changes
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return [tuned(folder / "first", 1), tuned(folder / "second", 2)]


@pytest.fixture(scope="module")
def questions(tmp_path_factory):
    """Which of two endings is the true one? Scored by its probability, so that no two models tie."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(80):
        opening, ending = OPENINGS[i % 4]
        wrong = " " + " ".join(rng.permutation([*ending.split(), "dog", "tree"]))
        choices = [ending, wrong] if i % 8 < 4 else [wrong, ending]
        rows.append(
            {"question": f"Story {i}. {opening}", "choices": choices, "answer": choices.index(ending)}
        )
    path = tmp_path_factory.mktemp("tasks") / "endings.yaml"
    path.with_suffix(".jsonl").write_text("\n".join(map(json.dumps, rows)))
    path.write_text(
        "data: endings.jsonl\nscorer: choice:probability\ntemplate: '{question}'\nanswer: '{choice}'\n"
    )
    return path


def test_the_winner_is_its_recipe_wherever_it_is_rebuilt(tmp_path, models, questions):
    outcome = evolve(models, str(questions), search={"population": 6}, budget=40, run=tmp_path / "run")
    assert outcome.finished
    assert outcome.failures == 0
    recipe = read_recipe(RunDirectory(tmp_path / "run").recipe_path(outcome.winner.digest))
    exported = export(tmp_path / "run", tmp_path / "winner")
    for i, model in enumerate(models):
        shutil.copytree(model, tmp_path / f"moved-{i}")
    moved = [tmp_path / "moved-1", tmp_path / "moved-0"]
    rebuilt = materialise(recipe, moved, out=tmp_path / "rebuilt")
    assert exported.digest == rebuilt.digest
    score = open_task(questions).test.score(load(tmp_path / "winner"), np.arange(16))
    assert score.mean() == pytest.approx(outcome.winner.test.value, abs=1e-6)


def test_the_winner_is_written_with_tokenizer_and_card(tmp_path, models, questions):
    evolve(models, str(questions), search="random", budget=5, run=tmp_path / "run", out=tmp_path / "winner")
    names = {path.name for path in (tmp_path / "winner").iterdir()}
    assert {"model.safetensors", "config.json", "recipe.json", "README.md", "tokenizer.json"} <= names


def test_models_in_half_precision_can_be_scored_in_single(tmp_path, models, questions):
    halves = []
    for model in models:
        halves.append(str(shutil.copytree(model, tmp_path / model.name)))
        tensors = {name: t.bfloat16() for name, t in load_file(model / "model.safetensors").items()}
        save_file(tensors, tmp_path / model.name / "model.safetensors", metadata={"format": "pt"})
    file = {
        "models": halves,
        "task": str(questions),
        "search": {"method": "random"},
        "budget": {"evaluations": 4},
    }
    slow = make_plan(parse_settings(file))
    assert slow.model.dtype == torch.bfloat16
    assert any("`dtype: float32`" in note for note in slow.notes)
    settings = parse_settings(file | {"dtype": "float32"})
    plan = make_plan(settings)
    assert plan.model.dtype == torch.float32
    assert plan.notes == tuple(note for note in slow.notes if "`dtype" not in note)
    outcome = evolve_settings(settings, run=tmp_path / "run", out=tmp_path / "winner")
    assert outcome.failures == 0
    written = load_file(tmp_path / "winner" / "model.safetensors")
    assert {tensor.dtype for tensor in written.values()} == {torch.bfloat16}
    with pytest.raises(ConfigError, match="dtype"):
        parse_settings(file | {"dtype": "int8"})


def test_the_parameters_of_a_method_evolve_layer_by_layer_and_resume_exactly(
    tmp_path, models, questions, contents
):
    genome = {
        "method": "dare_ties",
        "base": str(STORIES),
        "groups": "layer",
        "genes": {"weight": (0, 1), "density": (0, 1)},
    }
    options = {"genome": genome, "search": {"method": "cma-es", "population": 4}, "seed": 1}
    whole = evolve(models, str(questions), budget=12, run=tmp_path / "whole", **options)
    evolve(models, str(questions), budget=7, run=tmp_path / "parts", **options)
    resume(tmp_path / "parts", budget=12)
    assert contents(tmp_path / "parts")[0] == contents(tmp_path / "whole")[0]
    recipe = json.loads(RunDirectory(tmp_path / "whole").recipe_path(whole.winner.digest).read_text())
    assert recipe["method"] == "dare_ties"


def retold(folder, model, old, new):
    """The same model, whose tokenizer has another text for a token."""
    shutil.copytree(model, folder)
    path = folder / "tokenizer.json"
    data = json.loads(path.read_text())
    data["model"]["vocab"][new] = row = data["model"]["vocab"].pop(old)
    path.write_text(json.dumps(data))
    return folder, row


def test_merges_have_the_tokens_and_the_donor_that_the_file_asks_for(tmp_path, models, questions):
    second, row = retold(tmp_path / "second", models[1], "™", "ß")
    genome = {"method": "linear", "genes": {"weight": (0, 1)}, "parameters": {"normalize": True}}
    options = {"genome": genome, "search": "random", "budget": 5}
    both = [models[0], second]
    output = {"tokenizer": str(second), "donor": str(second), "dtype": "bfloat16"}
    evolve(both, str(questions), run=tmp_path / "run", out=tmp_path / "winner", output=output, **options)
    assert verify(tmp_path / "winner").is_same
    assert "ß" in json.loads((tmp_path / "winner" / "tokenizer.json").read_text())["model"]["vocab"]
    tensors = load_file(tmp_path / "winner" / "model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}
    own = load_file(second / "model.safetensors")["model.embed_tokens.weight"][row]
    torch.testing.assert_close(tensors["model.embed_tokens.weight"][row], own.bfloat16())
    with pytest.raises(ConfigError, match="the models could not be scored beside their merges"):
        evolve(both, str(questions), run=tmp_path / "union", output={"tokenizer": "union"}, **options)


def test_workers_have_a_resident_model_each_and_find_the_same(tmp_path, models, questions, contents):
    search = {"method": "random", "population": 4}
    for name, workers in (("one", 1), ("two", 2)):
        evolve(
            models,
            str(questions),
            search=search,
            budget=8,
            workers=workers,
            time_limit=300,
            run=tmp_path / name,
        )
    one, two = (contents(tmp_path / name)[0] for name in ("one", "two"))
    assert [child[:3] for child in one] == [child[:3] for child in two]
    np.testing.assert_allclose([child[9] for child in one], [child[9] for child in two], atol=1e-6)


def test_a_child_whose_answers_are_no_numbers_costs_one_candidate(tmp_path, models, questions):
    name = "model.layers.0.mlp.down_proj.weight"
    huge = torch.full_like(load_file(STORIES / "model.safetensors")[name], 3e38)
    broken = tuned(tmp_path / "broken", 3, **{name: huge})
    outcome = evolve(
        [*models, broken], str(questions), search={"population": 5}, budget=20, run=tmp_path / "run"
    )
    assert outcome.finished
    assert outcome.parents[2].failed.startswith("NonFiniteOutputError")
    assert outcome.winner.failed is None


def test_models_of_other_depth_or_vocabulary_are_refused_with_what_to_do(tmp_path, models, questions):
    shallow = tmp_path / "shallow"
    shutil.copytree(models[0], shallow)
    tensors = load_file(shallow / "model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if "layers.4." not in name}
    save_file(kept, shallow / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((shallow / "config.json").read_text())
    (shallow / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 4}))
    with pytest.raises(ValueError, match="layers"):
        evolve([models[0], shallow], str(questions), budget=5, run=tmp_path / "run")
    wide = tmp_path / "wide"
    shutil.copytree(models[0], wide)
    name = "model.embed_tokens.weight"
    grown = torch.cat([tensors[name], tensors[name][:8]])
    save_file({**tensors, name: grown}, wide / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="vocabular"):
        evolve([models[0], wide], str(questions), budget=5, run=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_is_no_language_model_is_refused_before_anything_is_written(tmp_path, questions):
    plain = tmp_path / "plain.safetensors"
    save_file({"layers.0.weight": torch.ones(3, 3)}, plain)
    with pytest.raises(CheckpointError):
        evolve([plain, plain], str(questions), budget=5, run=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_dense_genomes_are_for_small_networks(tmp_path, models, questions):
    with pytest.raises(ConfigError, match="small networks"):
        evolve(models, str(questions), genome={"kind": "dense"}, budget=5, run=tmp_path / "run")


def test_the_process_that_only_sends_children_to_workers_builds_no_model(tmp_path, models, questions):
    data = {"models": [str(m) for m in models], "task": str(questions), "workers": 2}
    plan = make_plan(parse_settings(data, "test"))
    assert "model" not in vars(plan)


def lora(folder, seed):
    """A LoRA on one projection of the stories model."""
    folder.mkdir()
    generator = torch.Generator().manual_seed(seed)
    key = "base_model.model.model.layers.0.mlp.up_proj"
    rows, columns = load_file(STORIES / "model.safetensors")["model.layers.0.mlp.up_proj.weight"].shape
    sides = {f"{key}.lora_A.weight": (4, columns), f"{key}.lora_B.weight": (rows, 4)}
    save_file(
        {name: torch.randn(shape, generator=generator) for name, shape in sides.items()},
        folder / "adapter_model.safetensors",
    )
    said = {"peft_type": "LORA", "r": 4, "lora_alpha": 4, "base_model_name_or_path": "stories"}
    (folder / "adapter_config.json").write_text(json.dumps(said))
    return f"{STORIES}+{folder}"


def test_a_run_over_adapters_resumes_and_keeps_no_copy_of_the_models(tmp_path, questions, monkeypatch):
    models = [lora(tmp_path / "first", 1), lora(tmp_path / "second", 2)]
    whole = evolve(models, str(questions), budget=8, run=tmp_path / "whole")
    evolve(models, str(questions), budget=4, run=tmp_path / "parts")
    monkeypatch.chdir(tmp_path)  # references are whole, from wherever it is resumed
    parts = resume(tmp_path / "parts", budget=8)
    assert parts.winner.digest == whole.winner.digest
    assert not list((tmp_path / "parts" / "files").iterdir())
    export(tmp_path / "parts", out=tmp_path / "winner")
    assert (tmp_path / "winner" / "tokenizer.json").is_file()
