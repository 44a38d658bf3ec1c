"""`merganser merge FILE.yaml` and `merganser recipe` as a user meets them."""

import json

import pytest
import torch
import yaml

import merganser

H, ROWS = 8, 12
CONFIG = {
    "model_type": "llama",
    "num_hidden_layers": 2,
    "vocab_size": ROWS,
    "architectures": ["LlamaForCausalLM"],
}
SLERP = """\
merge_method: slerp
base_model: first
models: [{model: first}, {model: second}]
parameters:
  t: [0, 1]
"""


def tensors(seed):
    generator = torch.Generator().manual_seed(seed)
    names = ["model.embed_tokens.weight", "lm_head.weight"]
    found = {name: torch.randn(ROWS, H, generator=generator) for name in names}
    for block in range(2):
        found[f"model.layers.{block}.mlp.up_proj.weight"] = torch.randn(H, H, generator=generator)
    return found


@pytest.fixture
def place(tmp_path):
    for seed, name in enumerate(("first", "second")):
        merganser.save(tensors(seed), tmp_path / name, config=CONFIG)
    (tmp_path / "merge.yaml").write_text(SLERP)
    return tmp_path


@pytest.fixture
def run(place, command):
    def run(*words, code=0):
        return command(*words, code=code, cwd=place)

    return run


def test_a_file_says_everything(run, place):
    done = run("merge", "merge.yaml", "--out", "out", "--json")
    assert json.loads(done.stdout.splitlines()[-1])["tensors"] == 4
    merged, first, second = (merganser.open(place / name) for name in ("out", "first", "second"))
    block = "model.layers.{}.mlp.up_proj.weight"
    assert torch.equal(merged.read(block.format(0)), first.read(block.format(0)))
    assert torch.equal(merged.read(block.format(1)), second.read(block.format(1)))
    assert torch.equal(merged.read("lm_head.weight"), second.read("lm_head.weight"))
    run("verify", "out")


def test_mergekits_formulas_are_chosen_by_as(run, place):
    run("merge", "merge.yaml", "--out", "out", "--as", "mergekit")
    head = merganser.open(place / "out").read("lm_head.weight")
    assert torch.equal(head, merganser.open(place / "first").read("lm_head.weight"))
    run("verify", "out")


def test_a_dry_run_writes_nothing(run, place):
    before = sorted(place.iterdir())
    facts = json.loads(run("merge", "merge.yaml", "--dry-run", "--json").stdout)
    assert facts["base"].endswith("first")
    assert sum(row["tensors"] for row in facts["groups"]) == 4
    assert sorted(place.iterdir()) == before


def test_what_has_no_effect_is_said(run, place):
    (place / "merge.yaml").write_text(SLERP + "  int8_mask: true\n")
    assert "line 6: `int8_mask` has no effect on `slerp`" in run("merge", "merge.yaml", "--out", "out").stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("slerp", "slrp"), "line 1: `merge_method` is no merge method: 'slrp'. Did you mean `slerp`?"),
        (("parameters", "paramters"), "line 4: `paramters` is not known. Did you mean `parameters`?"),
        (("base_model: first", "dtype: float32"), "line 1: `merge_method` is `slerp`"),
        (("[0, 1]", "[0, x]"), "line 5: `parameters.t[1]` must be a number, but is 'x'"),
        (("slerp", "ties"), "line 3: `models[1]` sets no `weight`"),
    ],
    ids=lambda value: value[1] if isinstance(value, tuple) else "",
)
def test_mistakes_are_told_with_their_line(run, place, change, message):
    (place / "merge.yaml").write_text(SLERP.replace(*change))
    before = sorted(place.iterdir())
    assert message in " ".join(run("merge", "merge.yaml", "--out", "out", code=2).stderr.split())
    assert sorted(place.iterdir()) == before


@pytest.mark.parametrize(
    "words", [("--method", "ties"), ("--base", "first"), ("--t", "0.5"), ("--tokenizer", "union")]
)
def test_options_that_the_file_should_say_are_refused(run, words):
    assert (
        f"{words[0]} is for the file to say"
        in run("merge", "merge.yaml", "--out", "o", *words, code=2).stderr
    )


def test_a_dialect_needs_a_file(run):
    assert (
        "--as goes with a mergekit file" in run("merge", "first", "second", "--as", "mergekit", code=2).stderr
    )
    assert "--as must be papers or mergekit" in run("merge", "merge.yaml", "--as", "latin", code=2).stderr


def test_a_recipe_is_printed_and_written_back(run, place):
    run("merge", "first", "second", "--method", "slerp", "--t", "0.25", "--out", "out")
    assert json.loads(run("recipe", "out").stdout) == json.loads((place / "out" / "recipe.json").read_text())
    text = run("recipe", "out", "--as", "mergekit").stdout
    assert yaml.safe_load(text)["parameters"] == {"t": 0.25}
    (place / "again.yaml").write_text(text)
    run("merge", "again.yaml", "--out", "again")
    assert merganser.open(place / "again").digest == merganser.open(place / "out").digest
    assert "--as must be json or mergekit" in run("recipe", "out", "--as", "xml", code=2).stderr


def test_licences_that_clash_are_refused_unless_the_user_decides(run, place):
    for name, licence in (("first", "gpl-3.0"), ("second", "cc-by-nc-4.0")):
        (place / name / "README.md").write_text(f"---\nlicense: {licence}\n---\n")
    before = sorted(place.iterdir())
    assert "--licence NAME" in run("merge", "first", "second", "--out", "out", code=2).stderr
    assert sorted(place.iterdir()) == before
    run("merge", "first", "second", "--out", "out", "--licence", "cc-by-nc-4.0")
    assert "license: cc-by-nc-4.0" in (place / "out" / "README.md").read_text()
    again = merganser.materialise(merganser.read_recipe(place / "out" / "recipe.json"), out=place / "again")
    assert "license: cc-by-nc-4.0" in (again.path / "README.md").read_text()
