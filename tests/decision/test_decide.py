"""Two small specialists: what the verdicts say is done, measured, and the best is taken."""

import json
import os
import shutil
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # is read when transformers is imported

import numpy as np
import pytest

from merganser import RunError, TaskError, load
from merganser.comparison import Verdict
from merganser.decision import candidates_of, decide
from merganser.decision._decision import Decision, Option
from merganser.evaluation import Interval, SplitRule, evaluate, open_task
from merganser.routing.requests import open_router

pytest.importorskip("transformers")
pytest.importorskip("sklearn")

STORIES = Path(__file__).parents[1] / "data" / "stories260k"
KINDS = {
    "toys": [
        (f"{n} has {k} red {t}s and", " they are all in the big box.")
        for n in ("Tom", "Lily", "Ben")
        for k in ("two", "three", "four", "five", "six")
        for t in ("ball", "car", "doll", "block")
    ],
    "fish": [
        (f"A {a} fish in the {w} said to the {o}:", " please come and swim with me!")
        for a in ("small", "big", "blue", "sad", "red")
        for w in ("sea", "lake", "pond", "river")
        for o in ("duck", "frog", "crab")
    ],
}


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    """What two kinds of beginnings go on with."""
    folder, found = tmp_path_factory.mktemp("tasks"), []
    for kind, pairs in KINDS.items():
        rows = [{"question": question, "answer": answer} for question, answer in pairs]
        (folder / f"{kind}.jsonl").write_text("\n".join(map(json.dumps, rows)))
        path = folder / f"{kind}.yaml"
        path.write_text(
            f"data: {kind}.jsonl\nscorer: likelihood\ntemplate: '{{question}}'\nanswer: '{{answer}}'\n"
        )
        found.append(open_task(str(path)))
    return found


@pytest.fixture(scope="module")
def specialists(tmp_path_factory):
    """The stories model, tuned to each of the kinds."""
    import torch
    from transformers import AutoTokenizer, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(STORIES)
    places = []
    for kind, pairs in KINDS.items():
        model = LlamaForCausalLM.from_pretrained(STORIES)
        rows = [tokenizer(question + answer)["input_ids"] for question, answer in pairs[::4]]
        longest = max(map(len, rows))
        batch = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
        labels = torch.tensor([row + [-100] * (longest - len(row)) for row in rows])
        optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
        for _ in range(12):
            model(batch, labels=labels).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        place = tmp_path_factory.mktemp("models") / kind
        shutil.copytree(STORIES, place)
        model.save_pretrained(place)
        places.append(str(place))
    return places


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the decision between the specialists lies."""
    return tmp_path_factory.mktemp("decided") / "here"


@pytest.fixture(scope="module")
def decided(specialists, tasks, folder):
    """The decision between the specialists."""
    return decide(specialists, tasks, folder, base=str(STORIES))


def test_every_way_is_measured_and_the_best_on_validation_is_taken(decided):
    found = decided.decision
    kinds = [option.kind for option in found.options]
    assert kinds == ["model", "model", *["merge"] * kinds.count("merge"), "contract", "router"]
    assert kinds.count("merge") >= 1
    best = max(option.validation.value for option in found.options)
    assert found[found.taken].validation.value == best
    assert found[found.best_model].beside is None
    by_contract = found["by contract"]
    assert by_contract.uses == {"toys": "toys", "fish": "fish"}
    assert by_contract.by_task == {
        "toys": found["toys"].by_task["toys"],
        "fish": found["fish"].by_task["fish"],
    }
    assert by_contract.beside.low > 0
    assert found["router"].test.value <= found.oracle.value + 1e-12
    assert sum(found["router"].uses.values()) == pytest.approx(1)


def test_the_average_scores_what_a_merge_on_disk_scores(decided, specialists, tasks, tmp_path):
    import merganser

    merganser.merge(specialists, "linear", out=tmp_path / "average")
    alive = load(tmp_path / "average")
    scores = [task.test.score(alive, np.arange(len(task.test.samples))) for task in tasks]
    assert list(decided.decision["linear"].by_task.values()) == pytest.approx(
        [s.mean() for s in scores], abs=1e-6
    )


def test_everything_is_in_the_folder(decided, folder):
    written = json.loads((folder / "decision.json").read_text())
    assert written == json.loads(json.dumps(decided.decision.to_json()))
    assert [p["verdict"]["action"] for p in json.loads((folder / "comparison.json").read_text())["pairs"]]
    saved = open_router(folder / "router")
    assert saved.router.experts == ("toys", "fish")
    assert [expert.model for expert in saved.experts.experts] == list(decided.comparison.models)


def test_work_that_was_interrupted_goes_on_and_ends_the_same(
    decided, folder, specialists, tasks, tmp_path, monkeypatch
):
    shutil.copytree(folder, tmp_path / "again")
    folder = tmp_path / "again"
    (folder / "decision.json").unlink()
    (folder / "scores" / "fish.json").unlink()
    asked = []
    monkeypatch.setattr(
        "merganser.decision._scores.evaluate",
        lambda models, *rest, **options: asked.append(*models) or evaluate(models, *rest, **options),
    )
    again = decide(specialists, tasks, folder, base=str(STORIES))
    assert again.decision == decided.decision
    assert asked == ["fish"]


@pytest.mark.usefixtures("decided")
def test_a_folder_is_for_one_decision(folder, specialists, tasks, tmp_path):
    with pytest.raises(RunError, match="about other models, tasks or samples"):
        decide(specialists, tasks[:1], folder, base=str(STORIES))
    for name in ("toys", "fish"):
        shutil.copytree(specialists[name == "fish"], tmp_path / "models" / name)
    moved = [str(tmp_path / "models" / name) for name in ("toys", "fish")]
    decide(moved, tasks[:1], tmp_path / "own", limit=8)
    shutil.copy(STORIES / "model.safetensors", tmp_path / "models" / "fish" / "model.safetensors")
    with pytest.raises(RunError, match="about other models"):
        decide(moved, tasks[:1], tmp_path / "own", limit=8)


def test_what_is_in_a_folder_stays(specialists, tasks, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match="empty folder"):
        decide(specialists, tasks, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


def test_a_model_that_fails_costs_itself_only(specialists, tasks, tmp_path):
    import torch
    from safetensors.torch import load_file, save_file

    shutil.copytree(STORIES, tmp_path / "broken")
    tensors = load_file(STORIES / "model.safetensors")
    tensors["model.norm.weight"] *= 3e37  # finite, but no logit is
    save_file(tensors, tmp_path / "broken" / "model.safetensors", metadata={"format": "pt"})
    assert torch.isfinite(tensors["model.norm.weight"]).all()
    found = decide([specialists[0], str(tmp_path / "broken")], tasks[:1], tmp_path / "out").decision
    assert [option.name for option in found.options if option.kind == "model"] == ["toys"]
    assert any(note.startswith("broken could not be scored") for note in found.notes)


def test_a_merge_that_is_taken_is_written(tasks, tmp_path):
    """Of two copies with noise of their own the average is better than both."""
    import torch
    from safetensors.torch import load_file, save_file

    places = []
    for seed in range(2):
        generator = torch.Generator().manual_seed(seed)
        shutil.copytree(STORIES, tmp_path / f"noisy-{seed}")
        tensors = load_file(STORIES / "model.safetensors")
        noise = {n: t + 0.3 * t.std() * torch.randn(t.shape, generator=generator) for n, t in tensors.items()}
        save_file(noise, tmp_path / f"noisy-{seed}" / "model.safetensors", metadata={"format": "pt"})
        places.append(tmp_path / f"noisy-{seed}")
    found = decide(places, tasks[:1], tmp_path / "out")
    taken = found.decision[found.decision.taken]
    assert (taken.kind, taken.members) == ("merge", ("noisy-0", "noisy-1"))
    alive, test = load(tmp_path / "out" / "merged"), tasks[0].test
    assert test.score(alive, np.arange(len(test.samples))).mean() == pytest.approx(taken.test.value, abs=1e-6)
    assert found.decision.words[0].startswith(f"Take the merge {taken.name}")


def test_arrays_are_decided_on_too_without_a_router(tmp_path):
    from merganser import save
    from merganser.evaluation import read_arrays
    from merganser.models import perceptron_size, perceptron_tensors, train_perceptron

    data, start = read_arrays("digits"), np.random.default_rng(0)
    widths = (64, 24, 10)
    base = (start.standard_normal(perceptron_size(widths)) * 0.1).astype(np.float32)
    for name, chosen in (("low", data.labels < 5), ("high", data.labels >= 5)):
        tuned = train_perceptron(base, widths, data.inputs[chosen], data.labels[chosen], steps=30)
        save(perceptron_tensors(tuned, widths), tmp_path / f"{name}.safetensors")
    models = [tmp_path / "low.safetensors", tmp_path / "high.safetensors"]
    found = decide(models, [open_task("digits")], tmp_path / "out", limit=200).decision
    assert {option.kind for option in found.options} <= {"model", "merge"}
    assert any("no words" in note for note in found.notes)


def test_a_task_needs_all_splits(specialists, tasks, tmp_path):
    whole = open_task("digits", SplitRule(preset="paper"))
    with pytest.raises(TaskError, match="no validation split"):
        decide(specialists, [whole], tmp_path / "out")
    with pytest.raises(ValueError, match="needs a task"):
        decide(specialists, [], tmp_path / "out")
    with pytest.raises(ValueError, match="two or more models, each once"):
        decide([specialists[0]] * 2, tasks, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_models_may_be_called_as_ways_are(specialists, tasks, tmp_path):
    """Folders are named after methods; their scores are theirs."""
    places = [tmp_path / name for name in ("linear", "router")]
    for place, model in zip(places, specialists, strict=True):
        shutil.copytree(model, place)
    found = decide(places, tasks, tmp_path / "out", base=str(STORIES), limit=8).decision
    names = [option.name for option in found.options]
    assert len(set(names)) == len(names)
    kinds = {option.name: option.kind for option in found.options}
    assert (kinds["linear"], kinds["router"]) == ("model", "model")
    assert (kinds["linear (not the model)"], kinds["router (not the model)"]) == ("merge", "router")
    assert found["linear"].by_task != found["linear (not the model)"].by_task


def test_models_that_no_verdict_connects_are_not_merged():
    merge, route = Verdict("merge", ("ties",), "likely", ()), Verdict("route", (), "likely", ())
    verdicts = {(0, 1): route, (0, 2): route, (0, 3): merge, (1, 2): route, (1, 3): route, (2, 3): route}
    assert {candidate.members for candidate in candidates_of(4, verdicts)} == {(0, 3)}
    assert candidates_of(2, {(0, 1): route}) == []
    or_else = Verdict("route", ("model_stock",), "likely", ())
    assert [c.method for c in candidates_of(2, {(0, 1): or_else})] == ["linear", "model_stock"]


@pytest.mark.parametrize(
    ("beside", "said"),
    [
        (None, "keep it simple"),
        (Interval(0.02, 0.01, 0.03), "+2.0 points (+1.0 to +3.0), beyond chance."),
        (Interval(0.02, -0.01, 0.05), "which may be chance"),
        (Interval(-0.02, -0.03, -0.01), "to the worse"),
    ],
)
def test_the_decision_says_how_sure_it_is(beside, said):
    score = Interval(0.5, 0.4, 0.6)
    options = (
        Option("one", "model", ("one",), score, score, None, {}),
        Option("linear", "merge", ("one", "two"), score, score, beside, {}),
    )
    taken = "one" if beside is None else "linear"
    found = Decision(options, taken, "one", score, ("a task",), {"test": 10})
    assert said in " ".join(found.words)
