"""`merganser merge` of adapters, as a user meets it: what is said, what is written, exit codes."""

import json

import pytest
import torch

import merganser

UP, DOWN = "model.layers.0.mlp.up_proj", "model.layers.0.mlp.down_proj"
SHAPES = {f"{UP}.weight": (12, 8), f"{DOWN}.weight": (8, 12), "model.norm.weight": (8,)}


def last_json(done):
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a base and two adapters of rank 2 and 3."""
    folder = tmp_path_factory.mktemp("adapters")
    generator = torch.Generator().manual_seed(0)
    merganser.save(
        {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}, folder / "base"
    )
    for name, rank in (("a", 2), ("b", 3)):
        tensors = {}
        for module in (UP, DOWN):
            rows, columns = SHAPES[f"{module}.weight"]
            for part, shape in (("A", (rank, columns)), ("B", (rows, rank))):
                key = f"base_model.model.{module}.lora_{part}.weight"
                tensors[key] = torch.randn(shape, generator=generator)
        (folder / name).mkdir()
        merganser.save(tensors, folder / name / "adapter_model.safetensors")
        config = {"peft_type": "LORA", "r": rank, "lora_alpha": 4, "base_model_name_or_path": "org/base"}
        (folder / name / "adapter_config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def run(place, command):
    """Runs a command where the models are."""

    def run(*words, code=0):
        return command(*words, code=code, cwd=place)

    return run


def test_adapters_become_a_whole_model_or_an_adapter_that_are_the_same(run, place, tmp_path):
    run("merge", "a", "b", "--method", "tsv_m", "--base", "base", "--out", tmp_path / "whole")
    done = run(
        "merge",
        "base+a",
        "base+b",
        "--method",
        "tsv_m",
        "--as-adapter",
        "--out",
        tmp_path / "adapter",
        "--json",
    )
    assert last_json(done)["space"] == "core"
    assert last_json(done)["rank"] == 5
    assert "lost" not in last_json(done)
    whole, adapted = (
        merganser.open(tmp_path / "whole"),
        merganser.open(f"{place / 'base'}+{tmp_path / 'adapter'}"),
    )
    for name in SHAPES:
        torch.testing.assert_close(adapted.read(name), whole.read(name))
    for folder in ("whole", "adapter"):
        run("verify", tmp_path / folder)
        assert "2509.17786" in run("citation", tmp_path / folder).stdout
        run("explain", tmp_path / folder)


def test_a_plan_says_where_and_what_a_rank_costs(run):
    words = ("merge", "a", "b", "--method", "tsv_m", "--base", "base", "--dry-run")
    done = run(*words)
    assert "in core space: 2 tensors that the adapters change, to a rank of at most 5" in done.stderr
    assert "energy" not in done.stderr
    done = run(*words, "--rank", "2", "--as-adapter")
    assert "an adapter of " in done.stderr
    assert "energy lost in total: " in done.stderr
    assert f"{UP}.weight" in done.stdout
    lost = last_json(run(*words, "--rank", "2", "--json"))["lost"]
    assert 0 < lost["total"] < 1
    assert set(lost["tensors"]) == {f"{UP}.weight", f"{DOWN}.weight"}
    assert min(lost["tensors"].values()) <= lost["total"] <= max(lost["tensors"].values())


def test_merges_of_whole_tensors_say_nothing_of_it(run):
    done = run("merge", "base+a", "base+b", "--method", "ties", "--dry-run", "--json")
    assert "space" not in last_json(done)
    done = run("merge", "base+a", "base+b", "--method", "ties", "--space", "core", "--dry-run", "--json")
    assert last_json(done)["space"] == "core"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("a", "b", "--method", "ties", "--base", "base", "--as-adapter"), 2, "Say `space` core"),
        (("a", "b", "--method", "tsv_m", "--base", "base", "--rank", "6"), 2, "more than 5"),
        (("a", "b", "--method", "tsv_m"), 1, "is an adapter, not a whole model"),
        (("base+a", "base", "--as-adapter"), 2, "is no adapter on a base"),
    ],
)
def test_misuse_is_said_and_writes_nothing(run, tmp_path, words, code, said):
    done = run("merge", *words, "--out", tmp_path / "out", code=code)
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []
