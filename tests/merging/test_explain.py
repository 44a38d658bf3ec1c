"""What became of the task vectors: by hand, by law, and whatever the blocks and workers."""

import dataclasses
import json

import pytest
import torch

from merganser.merging import plan_merge
from merganser.merging._explain import Shares, explain
from merganser.weights import Checkpoint, Execution


def checkpoint(source, **tensors):
    opened = Checkpoint.from_tensors({name.replace("__", "."): t for name, t in tensors.items()})
    return dataclasses.replace(opened, source=source)


def numbers(*values, dtype=torch.float32):
    return torch.tensor(values, dtype=dtype)


def plan(models, method, base, **parameters):
    return plan_merge(models, method, base=base, parameters=parameters)


@pytest.fixture(scope="module")
def llamas():
    """A base and two fine-tunes with blocks, embeddings and a head."""
    generator = torch.Generator().manual_seed(0)
    shapes = {
        "model__embed_tokens__weight": (40, 33),
        "model__layers__0__mlp__up_proj__weight": (70, 33),
        "model__layers__0__input_layernorm__weight": (33,),
        "model__layers__1__mlp__up_proj__weight": (70, 33),
        "lm_head__weight": (40, 33),
    }
    drawn = [
        {name: scale * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
        for scale in (0.1, 0.01, 0.02)
    ]
    base, *deltas = drawn
    tuned = [
        checkpoint(f"tuned {i}", **{name: base[name] + delta[name] for name in base})
        for i, delta in enumerate(deltas)
    ]
    return checkpoint("base", **base), tuned


def test_shares_by_hand():
    """The elected signs are + − +, the fourth vote is tied, and nobody moved the fifth entry."""
    base = checkpoint("base", w=torch.zeros(5))
    one = checkpoint("one", w=numbers(4.0, 2.0, 3.0, 1.0, 0.0))
    two = checkpoint("two", w=numbers(2.0, -4.0, 1.0, -1.0, 0.0))
    told = explain(plan([one, two], "ties", base, density=1.0)).tensors["w"]
    assert told["one"].entries == Shares(survived=2 / 4, conflict=1 / 4, dropped=1 / 4)
    assert told["one"].l1 == Shares(survived=7 / 10, conflict=2 / 10, dropped=1 / 10)
    assert told["one"].l2 == Shares(survived=25 / 30, conflict=4 / 30, dropped=1 / 30)
    assert told["two"].l1 == Shares(survived=7 / 8, conflict=0.0, dropped=1 / 8)
    assert told["one"].size is None
    assert told["one"].parallel is None


def test_what_rounding_loses_is_dropped():
    base = checkpoint("base", w=torch.full((3,), 256.0, dtype=torch.bfloat16))
    model = checkpoint("one", w=numbers(258.0, 264.0, 256.0, dtype=torch.bfloat16))
    told = explain(plan([model], "task_arithmetic", base, weight=0.25)).total["one"]
    assert told.entries == Shares(survived=1 / 2, conflict=0.0, dropped=1 / 2)


def test_a_model_that_was_not_tuned_has_no_fate():
    base = checkpoint("base", w=torch.ones(3))
    same = checkpoint("same", w=torch.ones(3))
    told = explain(plan([same], "ties", base)).total["same"]
    assert told.entries == told.l1 == told.l2 == Shares(0.0, 0.0, 0.0)
    assert told.size == 0.0


@pytest.mark.parametrize("method", ["task_arithmetic", "model_stock", "sce", "ram", "neuromerging"])
def test_a_lone_model_survives_whatever_the_method(method, llamas):
    base, [model, _] = llamas
    models = [model, model] if method == "model_stock" else [model]
    scaled = {"density": 1.0, "lambda_parallel": 1.0} if method == "neuromerging" else {}
    told = explain(plan(models, method, base, **scaled)).total[model.source]
    assert told.entries.survived == pytest.approx(1, abs=2e-3)  # a rounding may take the least of them
    assert told.l1.survived == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("method", ["ties", "dare_linear", "neuromerging"])
def test_shares_add_up_to_one_and_layers_to_their_tensors(method, llamas):
    base, models = llamas
    told = explain(plan(models, method, base))
    assert list(told.layers) == ["embeddings", "model.layers.0", "model.layers.1", "head"]
    for fates in (told.total, *told.layers.values(), *told.tensors.values()):
        assert list(fates) == ["tuned 0", "tuned 1"]
        for fate in fates.values():
            for shares in (fate.entries, fate.l1, fate.l2):
                assert sum(dataclasses.astuple(shares)) == pytest.approx(1)
    matrix, norm = (
        told.tensors[f"model.layers.0.{name}.weight"]["tuned 1"]
        for name in ("mlp.up_proj", "input_layernorm")
    )
    together = (matrix.entries.survived * 70 * 33 + norm.entries.survived * 33) / (71 * 33)
    assert told.layers["model.layers.0"]["tuned 1"].entries.survived == pytest.approx(together)


def test_trimming_drops_what_no_other_model_brings(llamas):
    base, [model, _] = llamas
    told = explain(plan([model], "ties", base, density=0.2)).total["tuned 0"]
    assert told.entries.survived == pytest.approx(0.2, abs=0.01)
    assert told.entries.dropped == pytest.approx(0.8, abs=0.01)
    assert told.l1.survived == pytest.approx(0.44, abs=0.02)  # of a normal distribution
    assert told.entries.conflict == 0


def test_a_task_vector_is_measured_against_the_base(llamas):
    base, models = llamas
    told = explain(plan(models, "task_arithmetic", base)).total
    assert told["tuned 0"].size == pytest.approx(0.1, rel=0.05)
    assert told["tuned 1"].size == pytest.approx(0.2, rel=0.05)


def test_for_neurons_the_parallel_part_is_told_apart():
    generator = torch.Generator().manual_seed(1)
    w, across = torch.randn(50, 80, generator=generator), torch.randn(50, 80, generator=generator)
    across -= (across * w).sum(dim=1, keepdim=True) / w.square().sum(dim=1, keepdim=True) * w
    base = checkpoint("base", w=w, bias=torch.ones(50))
    models = [
        checkpoint(name, w=w + delta, bias=torch.full((50,), 3.0))
        for name, delta in (
            ("along", 0.1 * w),
            ("across", across),
            ("both", 3 * w + across * 4 * w.norm() / across.norm()),
        )
    ]
    told = explain(plan(models, "neuromerging", base)).total
    assert told["along"].parallel == pytest.approx(1)
    assert told["across"].parallel == pytest.approx(0, abs=1e-9)
    assert told["both"].parallel == pytest.approx(9 / 25, rel=1e-5)
    assert explain(plan(models, "ties", base)).total["both"].parallel is None


@pytest.mark.parametrize("method", ["ties", "neuromerging", "dare_ties"])
def test_workers_change_nothing_and_blocks_the_last_digits(method, llamas):
    base, models = llamas
    made = plan(models, method, base)
    first = explain(made, Execution(1))
    assert explain(made, Execution(3)) == first
    cut = json.loads(json.dumps(explain(made, Execution(2, 4096)).to_json()["total"]["tuned 0"]))
    whole = first.to_json()["total"]["tuned 0"]
    assert cut["l1"] == pytest.approx(whole["l1"])
    assert cut["entries"] == whole["entries"]


def test_models_of_one_name_are_told_apart():
    base = checkpoint("base", w=torch.zeros(2))
    models = [checkpoint("same", w=numbers(1.0, 2.0)), checkpoint("same", w=numbers(-2.0, 1.0))]
    told = explain(plan(models, "ties", base, density=1.0)).total
    assert {name: fate.entries.conflict for name, fate in told.items()} == {"same": 0.5, "same #2": 0.0}


def test_a_merge_without_a_base_has_nothing_to_explain():
    models = [checkpoint("one", w=numbers(1.0)), checkpoint("two", w=numbers(2.0))]
    with pytest.raises(ValueError, match="Expected a merge with a base"):
        explain(plan(models, "linear", None))
