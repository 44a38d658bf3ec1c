"""Who is related to whom: fine-tunes, strangers, copies in another order, and bases among the models."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from merganser.comparison import THRESHOLDS, geometry, parentage
from merganser.models import perceptron_size, perceptron_tensors, train_perceptron
from merganser.weights import Checkpoint

SHAPES = {
    "embed_tokens.weight": (50, 32),
    **{f"layers.{i}.{part}.weight": (48, 32) for i in range(4) for part in ("attn", "mlp")},
    **{f"layers.{i}.input_layernorm.weight": (32,) for i in range(4)},
}


def drawn(seed, length=1.0):
    generator = torch.Generator().manual_seed(seed)
    return {name: length * torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}


def tuned(base, seed, length=0.1):
    task = drawn(seed, length)
    return {name: base[name] + task[name] for name in base}


def family_of(*models, base=None):
    opened = [Checkpoint.from_tensors(tensors) for tensors in models]
    return parentage(geometry(opened, None if base is None else Checkpoint.from_tensors(base), overlap=False))


def kinships(found):
    return [kin.kinship for kin in found.kin.values()]


@pytest.fixture(scope="module")
def base():
    return drawn(0)


def test_fine_tunes_are_related_and_strangers_are_not(base):
    found = family_of(tuned(base, 1), tuned(base, 2), drawn(3))
    assert kinships(found) == ["related", "unrelated", "unrelated"]
    near, far = found.between(1, 0), found.between(0, 2)
    assert near.cosine == pytest.approx(1 / 1.01, abs=0.01)
    assert near.distance == pytest.approx((2 * 0.01 / 1.01) ** 0.5, rel=0.05)
    assert abs(far.cosine) < 0.1
    assert far.distance == pytest.approx(2**0.5, rel=0.05)


def test_a_mean_that_all_models_share_makes_no_relatives(base):
    lifted = [{n: t + 5.0 for n, t in model.items()} for model in (base, drawn(1))]
    assert kinships(family_of(*lifted)) == ["unrelated"]


def test_copied_embeddings_make_no_relatives_and_new_ones_no_strangers(base):
    name = "embed_tokens.weight"
    assert kinships(family_of(base, {**drawn(1), name: base[name]})) == ["unrelated"]
    assert kinships(family_of(base, {**tuned(base, 1), name: drawn(2)[name]})) == ["related"]


def test_half_of_the_blocks_is_too_little_to_tell(base):
    stranger = drawn(1)
    half = {n: t if n.startswith(("layers.0", "layers.1")) else stranger[n] for n, t in base.items()}
    assert kinships(family_of(base, half)) == ["cannot tell"]
    far = {n: t + 1.4 * stranger[n] for n, t in base.items()}
    assert kinships(family_of(base, far)) == ["cannot tell"]


def test_permuted_copies_hold_the_same_numbers_in_another_order(base):
    order = torch.randperm(32, generator=torch.Generator().manual_seed(1))
    permuted = {name: tensor[..., order] for name, tensor in base.items()}
    assert kinships(family_of(base, permuted)) == ["reordered"]
    nearly = {name: tensor * 1.001 for name, tensor in permuted.items()}
    assert kinships(family_of(base, nearly)) == ["unrelated"]


def test_equal_models_are_the_same(base):
    found = family_of(base, dict(base))
    assert kinships(found) == ["same"]
    assert found.between(0, 1).distance == 0


def test_matrices_too_small_to_tell_are_not_asked():
    models = [{"a.weight": torch.randn(3, 3), "b.weight": torch.ones(50, 50)} for _ in range(2)]
    found = family_of(*models)
    assert kinships(found) == ["cannot tell"]
    assert found.between(0, 1).matrices == 0
    assert found.between(0, 1).cosine is None


@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_base_among_the_models_is_found(base, place):
    models = [tuned(base, 1, 0.05), tuned(base, 2, 0.1)]
    models.insert(place, base)
    found = family_of(*models)
    assert found.bases == (place,)
    assert abs(found.cosines[place]) < 0.1
    assert found.to_json()["bases"] == [found.models[place]]


def test_siblings_without_their_base_have_none_among_them(base):
    found = family_of(*(tuned(base, seed) for seed in (1, 2, 3)))
    assert found.bases == ()
    assert list(found.cosines.values()) == pytest.approx([0.5] * 3, abs=0.05)


def test_two_models_look_the_same_from_both(base):
    assert family_of(base, tuned(base, 1)).bases == ()


def test_two_families_have_a_base_each(base):
    other = drawn(7)
    found = family_of(base, tuned(base, 1), tuned(base, 2), tuned(other, 3), other, tuned(other, 4))
    assert found.bases == (0, 4)
    assert found.between(0, 4).kinship == "unrelated"


def test_a_base_that_is_named_is_one_of_the_family(base):
    found = family_of(tuned(base, 1), drawn(2), base=base)
    assert kinships(found) == ["related", "unrelated", "unrelated"]
    assert found.models[0] == "memory"
    assert len(found.models) == 3


def test_every_threshold_says_what_it_rests_on():
    assert all(row.means and row.source for row in THRESHOLDS.values())
    assert THRESHOLDS["related"].value == pytest.approx(0.755)


def test_networks_that_were_really_trained(small_npz):
    """Two from their own random numbers; a third that is tuned on even and on odd digits."""
    widths = (64, 48, 10)
    data = np.load(small_npz)
    inputs, labels = data["x_train"] / np.float32(16), data["y_train"]

    def begun(seed):
        flat = np.random.default_rng(seed).normal(size=perceptron_size(widths)) / 8
        return train_perceptron(flat.astype(np.float32), widths, inputs, labels, steps=60)

    even = labels % 2 == 0
    common = begun(3)
    halves = [
        train_perceptron(common, widths, inputs[m], labels[m], steps=60, learning_rate=1e-3)
        for m in (even, ~even)
    ]
    found = family_of(*(perceptron_tensors(flat, widths) for flat in (begun(1), begun(2), common, *halves)))
    relatives = {pair for pair, kin in found.kin.items() if kin.kinship == "related"}
    strangers = {pair for pair, kin in found.kin.items() if kin.kinship == "unrelated"}
    assert relatives == {(2, 3), (2, 4), (3, 4)}
    assert len(strangers) == 7
    assert found.bases == (2,)
