"""Merging by what was measured: what comes out, what is recorded, what is refused."""

import dataclasses
import json
import re

import pytest
import torch

from merganser._errors import CheckpointError, ConfigError, OutputError
from merganser.merging import (
    MergeRecipe,
    Statistics,
    merge,
    open_statistics,
    plan_merge,
    read_recipe,
    save_statistics,
    verify,
)
from merganser.merging.methods import METHODS
from merganser.weights import Checkpoint, fingerprint, open_checkpoint, save


def normal(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def model(seed):
    return {"w": normal(seed, 3, 5), "b": normal(seed + 50, 3)}


def gram(seed, rows=40, columns=5):
    inputs = normal(seed + 100, rows, columns)
    return inputs.T @ inputs / rows


def measured(tensors, kind="gram", numbers=None, **others):
    numbers = {"w": gram(1)} if numbers is None else numbers
    held = dataclasses.replace(Checkpoint.from_tensors(numbers), source="the statistics")
    return Statistics(kind, fingerprint(Checkpoint.from_tensors(tensors)), held, 40, 40, **others)


@pytest.fixture
def files(tmp_path):
    """Two models with Gram matrices of theirs, in files."""
    for i in (1, 2):
        save(model(i), tmp_path / f"model{i}")
        save_statistics(measured(model(i), numbers={"w": gram(i)}), tmp_path / f"gram{i}.safetensors")
    return tmp_path


def merged_files(folder, **options):
    return merge(
        [folder / "model1", folder / "model2"],
        "regmean",
        statistics=[folder / "gram1.safetensors", folder / "gram2.safetensors"],
        **options,
    )


# RegMean


def test_two_regressions_merge_into_the_regression_on_all_data():
    """Least squares on each of two sets of inputs, of unequal sizes; merged, they are least squares on both."""
    solutions, grams = [], []
    inputs = [normal(i, rows, 5) @ normal(i + 10, 5, 5) for i, rows in enumerate((60, 60))]
    answers = [x @ normal(7, 5, 3) + 0.5 * normal(i + 20, len(x), 3) for i, x in enumerate(inputs)]
    for x, y in zip(inputs, answers, strict=True):
        solutions.append({"w": torch.linalg.lstsq(x, y).solution.T.contiguous()})
        grams.append(x.T @ x / len(x))
    statistics = [measured(s, numbers={"w": g}) for s, g in zip(solutions, grams, strict=True)]
    found = merge(solutions, "regmean", statistics=statistics, alpha=1.0, ridge=0.0).read("w")
    joint = torch.linalg.lstsq(torch.cat(inputs), torch.cat(answers)).solution.T
    torch.testing.assert_close(found, joint, rtol=1e-6, atol=1e-6)
    mean = (solutions[0]["w"] + solutions[1]["w"]) / 2
    assert not torch.allclose(found, mean, rtol=1e-2)


@pytest.mark.parametrize("ridge", [0.0, 1e-6])
def test_inputs_that_no_model_saw_keep_the_mean(ridge):
    models = [{"w": normal(i, 3, 5)} for i in range(2)]
    seen = [torch.diag(torch.tensor(d, dtype=torch.float64)) for d in ([1, 0, 1, 0, 0], [0, 1, 1, 0, 0])]
    statistics = [measured(m, numbers={"w": g}) for m, g in zip(models, seen, strict=True)]
    found = merge(models, "regmean", statistics=statistics, ridge=ridge).read("w")
    first, second, mean = models[0]["w"], models[1]["w"], (models[0]["w"] + models[1]["w"]) / 2
    expected = torch.stack([first[:, 0], second[:, 1], mean[:, 2], mean[:, 3], mean[:, 4]], dim=1)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_inputs_along_the_first_axis_are_the_same_merge_transposed():
    models = [model(1), model(2)]
    grams = [gram(1), gram(2)]
    plain = merge(
        models,
        "regmean",
        statistics=[measured(m, numbers={"w": g}) for m, g in zip(models, grams, strict=True)],
    )
    turned = [{"w": m["w"].T.contiguous(), "b": m["b"]} for m in models]
    statistics = [
        measured(m, numbers={"w": g}, inputs_first=frozenset({"w"}))
        for m, g in zip(turned, grams, strict=True)
    ]
    found = merge(turned, "regmean", statistics=statistics)
    torch.testing.assert_close(found.read("w"), plain.read("w").T)
    torch.testing.assert_close(found.read("b"), (models[0]["b"] + models[1]["b"]) / 2)


def test_a_matrix_that_two_weights_share_serves_both(tmp_path):
    models = [{"k": normal(i, 3, 5), "q": normal(i + 5, 4, 5)} for i in range(2)]
    statistics = []
    for i, each in enumerate(models):
        held = dataclasses.replace(Checkpoint.from_tensors({"k": gram(i)}), tied={"q": "k"})
        look = fingerprint(Checkpoint.from_tensors(each))
        statistics.append(
            save_statistics(Statistics("gram", look, held, 1, 1), tmp_path / f"{i}.safetensors")
        )
    assert statistics[0].name_of("q") == "k"
    apart = [measured(m, numbers={"k": gram(i), "q": gram(i)}) for i, m in enumerate(models)]
    shared, alone = (merge(models, "regmean", statistics=each) for each in (statistics, apart))
    assert all(torch.equal(shared.read(name), alone.read(name)) for name in "kq")


# Fisher


def test_a_parameter_comes_from_the_model_that_depends_on_it():
    models = [{"w": torch.zeros(4)}, {"w": torch.ones(4)}]
    numbers = [torch.tensor([1.0, 0.0, 1.0, 0.0]), torch.tensor([0.0, 4.0, 4.0, 0.0])]
    statistics = [measured(m, "fisher", {"w": n}) for m, n in zip(models, numbers, strict=True)]
    found = merge(models, "fisher", statistics=statistics).read("w")
    torch.testing.assert_close(found, torch.tensor([0.0, 1.0, 0.5, 0.5]), rtol=0, atol=1e-5)
    heavy = merge(models, "fisher", statistics=statistics, weight=[1, 3]).read("w")
    torch.testing.assert_close(heavy, torch.tensor([0.0, 1.0, 0.75, 0.75]), rtol=0, atol=1e-5)


def test_weights_that_are_all_zero_are_refused():
    with pytest.raises(ValueError, match="weights of `fisher` are all zero"):
        METHODS["fisher"](weight=(0.0, 0.0))


# files


def test_a_file_holds_everything_there_is_to_know(tmp_path):
    given = measured(
        model(1),
        "merged_gram",
        inputs_first=frozenset({"w"}),
        prefix={"models": ["x"], "parameters": {"alpha": 0.9}},
    )
    back = save_statistics(given, tmp_path / "s.safetensors")
    for name in ("kind", "model", "samples", "tokens", "inputs_first", "prefix"):
        assert getattr(back, name) == getattr(given, name)
    assert torch.equal(back.tensors.read("w"), gram(1))
    with pytest.raises(OutputError, match="exists"):
        save_statistics(given, tmp_path / "s.safetensors")
    assert save_statistics(given, tmp_path / "folder").source == str(tmp_path / "folder")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"format": "pt"}, "holds no statistics.*merganser statistics MODEL"),
        ({"version": "2"}, "of version '2'; this release reads version 1"),
        ({"kind": "mean"}, "kind is 'mean'"),
        ({"samples": "many"}, "damaged"),
        ({"inputs_first": "{}"}, "`inputs_first` is"),
        ({"prefix": "{}"}, "`prefix` is"),
    ],
)
def test_a_file_that_says_other_things_is_refused(said, message, tmp_path):
    save_statistics(measured(model(1)), tmp_path / "s.safetensors")
    there = open_checkpoint(tmp_path / "s.safetensors")
    save(there, tmp_path / "t.safetensors", metadata=said)
    with pytest.raises(CheckpointError, match=message):
        open_statistics(tmp_path / "t.safetensors")


def test_a_model_is_no_file_of_statistics(tmp_path):
    save(model(1), tmp_path / "m.safetensors")
    with pytest.raises(CheckpointError, match="holds no statistics"):
        open_statistics(tmp_path / "m.safetensors")


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"w": normal(0, 3, 5)}, "must be a square matrix"),
        ({"w": torch.ones(5, 5, dtype=torch.int64)}, "floating"),
    ],
)
def test_gram_matrices_are_square_and_floating(numbers, message, tmp_path):
    with pytest.raises(CheckpointError, match=message):
        save_statistics(measured(model(1), numbers=numbers), tmp_path / "s.safetensors")


# recipes


def test_a_merge_by_statistics_is_rebuilt_from_its_recipe(files):
    merged_files(files, out=files / "out", digests=True)
    recipe = read_recipe(files / "out" / "recipe.json")
    assert isinstance(recipe, MergeRecipe)
    assert [each.statistics.reference for each in recipe.ingredients] == [
        str(files / f"gram{i}.safetensors") for i in (1, 2)
    ]
    assert all(each.statistics.digest for each in recipe.ingredients)
    assert MergeRecipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe
    assert verify(files / "out").is_same


def test_moved_statistics_can_be_named_and_others_are_refused(files):
    merged_files(files, out=files / "out")
    (files / "gram1.safetensors").rename(files / "moved.safetensors")
    with pytest.raises(ConfigError, match=r"Statistics of the recipe cannot be opened.*gram1"):
        verify(files / "out")
    moved = [files / "moved.safetensors", files / "gram2.safetensors"]
    assert verify(files / "out", statistics=moved).is_same
    with pytest.raises(ConfigError, match="is not the file of statistics that the recipe was made with"):
        verify(files / "out", statistics=moved[::-1])
    with pytest.raises(ConfigError, match="names 2 statistics, but 1 were given"):
        verify(files / "out", statistics=moved[:1])


def test_statistics_in_memory_cannot_be_found_again(files):
    statistics = [measured(model(i), numbers={"w": gram(i)}) for i in (1, 2)]
    merge([files / "model1", files / "model2"], "regmean", statistics=statistics, out=files / "out")
    with pytest.raises(ConfigError, match="statistics that were only in memory"):
        verify(files / "out")
    assert verify(files / "out", statistics=statistics).is_same


def test_an_interrupted_merge_does_not_go_on_with_other_statistics(files):
    from merganser.merging import identity_of, recipe_of

    def identity():
        opened = [open_checkpoint(files / f"model{i}") for i in (1, 2)]
        statistics = [open_statistics(files / f"gram{i}.safetensors") for i in (1, 2)]
        plan = plan_merge(opened, "regmean", statistics=statistics)
        return identity_of(recipe_of(plan), plan, {})

    before = identity()
    assert identity() == before
    save_statistics(measured(model(2), numbers={"w": gram(9)}), files / "gram2.safetensors", overwrite=True)
    assert identity() != before


# what is refused


@pytest.mark.parametrize("method", ["regmean", "regmean_plus_plus", "fisher"])
def test_missing_statistics_are_missed_before_anything_is_read(method, files):
    words = r"`--statistics FILE` for each model.*`merganser statistics MODEL"
    with pytest.raises(ValueError, match=words):
        merge([files / "model1", files / "model2"], method)


def test_every_model_needs_its_own():
    with pytest.raises(ValueError, match="for 2 models there are 1"):
        merge([model(1), model(2)], "regmean", statistics=[measured(model(1))])


def test_statistics_of_another_model_are_refused_naming_both(files):
    statistics = [files / "gram2.safetensors", files / "gram1.safetensors"]
    words = re.escape(f"{files / 'gram2.safetensors'} were measured on another model than {files / 'model1'}")
    with pytest.raises(ValueError, match=words):
        merge([files / "model1", files / "model2"], "regmean", statistics=statistics)


def test_statistics_of_another_kind_are_refused(files):
    statistics = [files / "gram1.safetensors", files / "gram2.safetensors"]
    with pytest.raises(ValueError, match=r"needs Fisher information \(`fisher`\), but .* holds `gram`"):
        merge([files / "model1", files / "model2"], "fisher", statistics=statistics)


def test_a_method_that_needs_none_takes_none(files):
    statistics = [files / "gram1.safetensors", files / "gram2.safetensors"]
    with pytest.raises(ValueError, match="`linear` uses no statistics"):
        merge([files / "model1", files / "model2"], "linear", statistics=statistics)


def test_shapes_that_do_not_fit_are_refused():
    statistics = [measured(model(i), numbers={"w": gram(i, columns=4)}) for i in (1, 2)]
    with pytest.raises(ValueError, match=r"'w' of the statistics has the shape \(4, 4\).*must be \(5, 5\)"):
        merge([model(1), model(2)], "regmean", statistics=statistics)


def test_a_weight_that_was_measured_on_one_model_only_is_refused():
    statistics = [measured(model(1)), measured(model(2), numbers={"v": gram(2)})]
    with pytest.raises(ValueError, match="the statistics holds nothing for 'w'"):
        merge([model(1), model(2)], "regmean", statistics=statistics)


def test_layouts_that_disagree_are_refused():
    models = [{"w": normal(i, 5, 5)} for i in (1, 2)]
    statistics = [measured(models[0]), measured(models[1], inputs_first=frozenset({"w"}))]
    with pytest.raises(ValueError, match="disagree about which axis of 'w'"):
        merge(models, "regmean", statistics=statistics)


@pytest.mark.parametrize("number", ["NaN", "infinite"])
@pytest.mark.parametrize("kind", ["gram", "fisher"])
def test_statistics_that_are_no_numbers_stop_the_merge(kind, number):
    sound, damaged = gram(1), gram(2)
    if kind == "fisher":
        sound, damaged = torch.ones(3, 5), torch.ones(3, 5)
    damaged[1, 2] = float(number.replace("infinite", "inf"))
    statistics = [measured(model(1), kind, {"w": sound}), measured(model(2), kind, {"w": damaged})]
    words = f"Tensor 'w' of the statistics holds a number that is {number}, at element 7.*measure them again"
    with pytest.raises(CheckpointError, match=words):
        merge([model(1), model(2)], {"gram": "regmean"}.get(kind, kind), statistics=statistics)


def test_what_was_measured_while_others_were_merged_is_refused():
    models = [model(1), model(2)]
    looks = [fingerprint(Checkpoint.from_tensors(each)) for each in models]
    prefix = {"models": looks, "parameters": {"alpha": 0.9, "ridge": 1e-6}}

    def merged(*prefixes, **parameters):
        statistics = [measured(m, "merged_gram", prefix=p) for m, p in zip(models, prefixes, strict=True)]
        return merge(models, "regmean_plus_plus", statistics=statistics, **parameters)

    assert len(merged(prefix, prefix)) == 2
    with pytest.raises(ValueError, match="measured while others were merged"):
        merged(prefix, {**prefix, "models": [*looks, "x"]})
    with pytest.raises(ValueError, match=r"while merging with alpha 0.9, .*this merge has alpha 0.5"):
        merged(prefix, prefix, alpha=0.5)
