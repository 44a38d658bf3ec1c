"""A path is a value; what it makes is an ordinary model."""

import json

import numpy as np
import pytest
import torch

from merganser._errors import CheckpointError, ConfigError
from merganser.interop import to_yaml
from merganser.merging import (
    Combination,
    Hop,
    LayerPath,
    citations,
    materialise,
    path_blueprint,
    plan_path,
    read_combination,
    read_recipe,
    sources_of,
    verify,
    write_recipe,
)
from merganser.weights import Checkpoint, save

CONFIG = {"model_type": "llama", "num_hidden_layers": 3, "rms_norm_eps": 1e-6, "tie_word_embeddings": False}
WIDTH = 4


def model(seed, blocks=3, width=WIDTH, bias=False, **config):
    generator = torch.Generator().manual_seed(seed)
    shapes = {
        "model.embed_tokens.weight": (9, width),
        "model.norm.weight": (width,),
        "lm_head.weight": (9, width),
    }
    for i in range(blocks):
        block = f"model.layers.{i}"
        shapes[f"{block}.input_layernorm.weight"] = (width,)
        shapes[f"{block}.self_attn.q_proj.weight"] = (width, width)
        shapes[f"{block}.self_attn.o_proj.weight"] = (width, width)
        shapes[f"{block}.mlp.down_proj.weight"] = (width, 2 * width)
        if bias:
            shapes[f"{block}.self_attn.o_proj.bias"] = shapes[f"{block}.mlp.down_proj.bias"] = (width,)
    tensors = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return Checkpoint.from_tensors(tensors, config={**CONFIG, "num_hidden_layers": blocks, **config})


@pytest.fixture(scope="module")
def two():
    return [model(0), model(1, blocks=4)]


def path_of(models, *hops, scaling="state"):
    return LayerPath(tuple(each.digest for each in models), tuple(Hop(*hop) for hop in hops), scaling)


MIXED = ((0, 0, 2.0), (1, 3, 0.5), (1, 3, 4.0), (0, 2, 0.25))


# the value


def test_a_path_is_what_it_says_and_nothing_else():
    path = LayerPath(("a", "b"), (Hop(0, 0), Hop(1, 2, 0.5), Hop(0, 1)))
    again = LayerPath(("a", "b"), (Hop(0, 0, 1), Hop(1, 2, 0.5), Hop(0, 1)))
    assert path == again
    assert path.digest == again.digest
    assert len({path, again}) == 1
    others = [
        LayerPath(("b", "a"), path.hops),
        LayerPath(path.seeds, path.hops, "handed"),
        LayerPath(path.seeds, (path.hops[0], path.hops[2])),
        LayerPath(path.seeds, (Hop(0, 0), Hop(1, 2, 0.25), Hop(0, 1))),
    ]
    assert len({path.digest, *(other.digest for other in others)}) == 5


@pytest.mark.parametrize("scaling", ["state", "handed"])
def test_a_recipe_file_gives_the_same_path_back(scaling, tmp_path):
    path = LayerPath(("a", "b"), (Hop(0, 0), Hop(1, 2, 1 / 3), Hop(0, 1, np.nextafter(1, 2))), scaling)
    write_recipe(path, tmp_path / "path.json")
    back = read_recipe(tmp_path / "path.json")
    assert back == path
    assert back.digest == path.digest
    with pytest.raises(ConfigError, match="the recipe of a path, not"):
        read_combination(tmp_path / "path.json")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": 2}, "newer release"),
        ({"hops": [[0, 0]]}, r"Expected a hop as \[model, block, scale\]"),
        ({"hops": [[0, True, 1.0]]}, "Expected a hop"),
        ({"hops": [[0, 0, "1"]]}, "Expected a hop"),
        ({"hops": []}, "has none"),
        ({"scaling": "both"}, "must be state or handed"),
        ({"seeds": [1]}, "its seeds"),
    ],
)
def test_a_file_that_is_no_path_is_refused(change, said, tmp_path):
    data = LayerPath(("a",), (Hop(0, 0),)).to_json() | change
    (tmp_path / "path.json").write_text(json.dumps(data))
    with pytest.raises(ConfigError, match=said):
        read_recipe(tmp_path / "path.json")


@pytest.mark.parametrize(
    ("hops", "said"),
    [
        ([Hop(1, 0), Hop(0, 0)], "must begin with a block of the first model"),
        ([Hop(0, 0), Hop(1, 0)], "must end with a block of the first model"),
        ([Hop(0, 0), Hop(2, 0), Hop(0, 0)], "there are 2 models"),
        ([Hop(0, 0, 0.0)], "must be positive, but is 0"),
        ([Hop(0, 0), Hop(0, 1, -1.0)], "must be positive"),
        ([Hop(0, 0, float("nan"))], "must be finite"),
    ],
)
def test_what_is_no_path_is_refused(hops, said):
    with pytest.raises(ValueError, match=said):
        LayerPath(("a", "b"), tuple(hops))


def test_what_is_handed_over_may_change_its_sign_but_not_the_embeddings():
    assert LayerPath(("a",), (Hop(0, 0), Hop(0, 1, -1.0)), "handed").folded()[0].mlp == -1.0
    with pytest.raises(ValueError, match="hop 0 must be positive"):
        LayerPath(("a",), (Hop(0, 0, -1.0),), "handed")


def test_scales_that_multiply_to_nothing_are_refused():
    with pytest.raises(ValueError, match="nearer to 1"):
        LayerPath(("a",), tuple(Hop(0, 0, 1e-30) for _ in range(12))).folded()


# as a merge


@pytest.mark.parametrize("bias", [False, True])
def test_the_last_matrices_are_divided_by_products_of_scales_and_nothing_else_is_touched(bias):
    models = [model(0, bias=bias), model(1, blocks=4, bias=bias)]
    made = materialise(path_of(models, *MIXED), models)
    products = np.cumprod([hop[2] for hop in MIXED])
    assert made.config["num_hidden_layers"] == len(MIXED)
    for t, (number, block, _) in enumerate(MIXED):
        ends = ["weight", "bias"] if bias else ["weight"]
        touched = [f"{part}.{end}" for part in ("self_attn.o_proj", "mlp.down_proj") for end in ends]
        for part in ("self_attn.q_proj.weight", "input_layernorm.weight", *touched):
            factor = 1 / products[t] if part in touched else 1.0
            origin = models[number].read(f"model.layers.{block}.{part}")
            assert made.read(f"model.layers.{t}.{part}").equal(origin * factor), (t, part)
    for name in ("model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"):
        assert made.read(name).equal(models[0].read(name))


def test_what_is_handed_over_is_scaled_where_it_is_made(two):
    made = materialise(path_of(two, *MIXED, scaling="handed"), two)
    for t, (number, block, _) in enumerate(MIXED):
        after = MIXED[t + 1][2] if t + 1 < len(MIXED) else 1.0
        for part, factor in (("self_attn.o_proj", 0.5), ("mlp.down_proj", after * 0.5)):
            origin = two[number].read(f"model.layers.{block}.{part}.weight")
            assert made.read(f"model.layers.{t}.{part}.weight").equal(origin * factor)


def test_blocks_in_a_row_are_one_slice(two):
    hops = [(0, 0), (0, 1), (0, 1), (1, 2), (1, 3), (0, 2, 2.0)]
    slices = path_blueprint(path_of(two, *hops)).slices
    assert [each.sources[0].blocks for each in slices] == [(0, 2), (1, 2), (2, 4), (2, 3)]


def test_seeds_are_known_by_their_digests_in_any_order(two):
    path = path_of(two, (0, 0), (1, 1), (0, 2))
    made = materialise(path, two[::-1])
    name = "self_attn.q_proj.weight"
    assert made.read(f"model.layers.1.{name}").equal(two[1].read(f"model.layers.1.{name}"))
    with pytest.raises(ValueError, match=f"needs the model with digest {two[1].digest}"):
        materialise(path, two[:1])


def test_a_written_path_is_a_merge_that_can_be_verified_and_said_in_mergekits_words(two, tmp_path):
    places = [save(each, tmp_path / f"model{i}") for i, each in enumerate(two)]
    path = path_of(two, *MIXED)
    materialise(path, places, out=tmp_path / "out")
    assert verify(tmp_path / "out").is_same
    assert "num_hidden_layers" in (tmp_path / "out" / "config.json").read_text()
    said = to_yaml(read_recipe(tmp_path / "out" / "recipe.json"), ["org/a", "org/b"])
    assert said.startswith("merge_method: passthrough")
    assert "layer_range: [3, 4]" in said
    assert "filter: mlp.down_proj." in said


def test_a_path_cites_its_paper_and_a_combination_nothing(two):
    assert "akiba2024evolutionary" in citations(sources_of(path_of(two, (0, 0))))
    assert sources_of(Combination(("a",), np.array([0, 1]), np.ones((1, 1)))) == ()


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (model(1, width=8), r"'input_layernorm.weight' is of shape \(4,\) in .* and of shape \(8,\)"),
        (model(1, bias=True), "'mlp.down_proj.bias' is missing in"),
        (model(1, model_type="gemma2"), "is 'gemma2': for that family it is not derived"),
        (model(1, model_type="mistral"), "one configuration cannot speak of both"),
        (model(1, rms_norm_eps=1e-5), "`rms_norm_eps` is 1e-06 in memory and 1e-05"),
    ],
)
def test_parents_that_do_not_fit_are_refused_with_the_reason(other, said):
    models = [model(0), other]
    with pytest.raises(CheckpointError, match=said):
        plan_path(path_of(models, (0, 0), (1, 0), (0, 2)), models)


def test_a_block_that_is_not_there_is_named(two):
    with pytest.raises(ValueError, match="Blocks 7 to 8"):
        plan_path(path_of(two, (0, 0), (1, 7), (0, 2)), two)
