"""NeuroMerging: what follows from its equations, and where they are delicate."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from merganser.merging.methods._neurons import elected_mean, orthogonal_weights

WHOLE = {"density": 1.0}
"""Nothing is trimmed."""


@pytest.fixture(scope="module")
def literal():
    """The decomposition neuron by neuron, direction by direction."""
    path = Path(__file__).with_name("_literal_neuro.py")
    spec = importlib.util.spec_from_file_location("_literal_neuro", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def normal(seed, *shape, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def family(count, shape=(20, 31), scale=0.1, dtype=torch.float64):
    """A base, and task vectors."""
    return normal(0, *shape, dtype=dtype), [
        scale * normal(seed, *shape, dtype=dtype) for seed in range(1, count + 1)
    ]


@pytest.fixture
def delta(run):
    """What a merge adds to one tensor, given the base and the task vectors."""

    def merged(base, deltas, **parameters):
        models = [{"w": base + each} for each in deltas]
        return run("neuromerging", models, {"w": base}, **{**WHOLE, **parameters})["w"] - base

    return merged


def orthogonal(vectors, base):
    """What is orthogonal to the base's rows."""
    share = (vectors * base).sum(dim=1, keepdim=True) / (base * base).sum(dim=1, keepdim=True)
    return vectors - share * base


# what follows from the equations


def test_one_task_vector_leaves_its_orthogonal_part(delta):
    base, [vector] = family(1)
    merged = delta(base, [vector])
    torch.testing.assert_close(merged, orthogonal(vector, base))
    torch.testing.assert_close((merged * base).sum(dim=1), torch.zeros(20, dtype=torch.float64))


@pytest.mark.parametrize("copies", [2, 3, 8])
def test_copies_of_a_task_vector_are_as_good_as_one(copies, delta):
    base, [vector] = family(1)
    torch.testing.assert_close(delta(base, [vector] * copies), orthogonal(vector, base))


@pytest.mark.parametrize("copies", [1, 4])
def test_parallel_and_orthogonal_part_make_up_the_whole(copies, delta):
    base, [vector] = family(1)
    torch.testing.assert_close(delta(base, [vector] * copies, lambda_parallel=1.0), vector)


def test_the_parallel_part_is_relative_to_the_base_and_not_to_its_direction(delta):
    """By the authors' code it would be shorter by the length of the base's row."""
    base = torch.tensor([[3.0, 4.0]])
    merged = delta(base, [0.5 * base, 0.25 * base, -0.125 * base], lambda_parallel=1.0)
    torch.testing.assert_close(merged, 0.375 * base)


@pytest.mark.parametrize("order", [[2, 0, 1, 3], [3, 2, 1, 0]])
def test_the_order_of_task_vectors_in_general_position_does_not_matter(order, delta):
    base, vectors = family(4)
    again = delta(base, [vectors[i] for i in order], density=0.4, lambda_parallel=0.5)
    torch.testing.assert_close(again, delta(base, vectors, density=0.4, lambda_parallel=0.5))


def test_neurons_may_change_places(delta):
    base, vectors = family(3)
    places = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    again = delta(base[places], [vector[places] for vector in vectors], density=0.5)
    torch.testing.assert_close(again, delta(base, vectors, density=0.5)[places])


@pytest.mark.parametrize("factor", [1e-6, 3.0, 1e6])
def test_task_vectors_and_what_is_added_scale_together(factor, delta):
    base, vectors = family(3)
    many = delta(base, [factor * vector for vector in vectors], density=0.3)
    torch.testing.assert_close(many / factor, delta(base, vectors, density=0.3), rtol=1e-6, atol=1e-8)


def test_a_rotation_of_the_inputs_rotates_what_is_added(delta):
    base, vectors = family(4)
    rotation, _ = torch.linalg.qr(normal(9, 31, 31))
    again = delta(base @ rotation, [vector @ rotation for vector in vectors])
    torch.testing.assert_close(again, delta(base, vectors) @ rotation)


@pytest.mark.parametrize("count", [2, 3, 4, 8])
def test_unrelated_task_vectors_weigh_two_over_their_number(count, delta):
    """Each direction is one vector's, and of the others' tiny coordinates about half agree and are counted."""
    base, vectors = family(count, (600, 2000))
    vectors = [(1 + i / count) * vector for i, vector in enumerate(vectors)]
    for counted, weight in (("literal", (2**count - 1) / (count * 2 ** (count - 1))), ("thresholded", 1.0)):
        merged = delta(base, vectors, count=counted)
        weights = [((merged * v).sum() / (v * v).sum()).item() for v in vectors]
        assert np.mean(weights) == pytest.approx(weight, abs=0.03 if counted == "literal" else 0.15)


def test_a_kernel_is_merged_as_the_matrix_of_its_outputs(delta):
    base, vectors = family(3, (6, 36))
    kernel = (6, 4, 3, 3)
    again = delta(base.view(kernel), [vector.view(kernel) for vector in vectors])
    torch.testing.assert_close(again.view(6, 36), delta(base, vectors))


# against the decomposition itself

BASE, VECTORS = family(4, (12, 40))
ADVERSARIAL = {
    "random": VECTORS,
    "equal": [VECTORS[0]] * 4,
    "nearly equal": [VECTORS[0] + 1e-4 * v for v in VECTORS],
    "of rank two": [VECTORS[0], VECTORS[1], VECTORS[0] + VECTORS[1], VECTORS[0] - 0.5 * VECTORS[1]],
    "parallel to the base": [0.1 * BASE, -0.3 * BASE, 0.2 * BASE + 1e-3 * VECTORS[0], VECTORS[1]],
    "some zero": [torch.zeros_like(BASE), VECTORS[1], torch.zeros_like(BASE), VECTORS[3]],
    "all zero": [torch.zeros_like(BASE)] * 4,
    "of different size": [v * 10.0 ** (-i) for i, v in enumerate(VECTORS)],
    "lone entries": [v * (torch.arange(40) % 4 == i) for i, v in enumerate(VECTORS)],
    "more than entries": [v[:, :2].repeat(1, 20) for v in VECTORS],
}


@pytest.mark.parametrize("count", ["literal", "thresholded"])
@pytest.mark.parametrize("name", ADVERSARIAL)
def test_the_gram_matrix_knows_what_the_decomposition_knows(name, count, run, literal):
    """In float32, where the models' own rounding is that of the task vectors."""
    base = BASE.float()
    models = [{"w": base + v.float()} for v in ADVERSARIAL[name]]
    parameters = {
        "density": (0.7,) * 4,
        "lambda_orthogonal": 1.0,
        "lambda_parallel": 0.5,
        "rescale": "l1",
        "cap": 3.0,
        "count": count,
        "scope": "model",
    }
    deltas = [{"w": (model["w"] - base).double().numpy()} for model in models]
    origin = {"w": base.double().numpy()}
    doubled = [{"w": origin["w"] + each["w"]} for each in deltas]
    expected = literal.neuromerging(doubled, origin, **parameters)["w"] - origin["w"]
    merged = (run("neuromerging", models, {"w": base}, **parameters)["w"] - base).double().numpy()
    scale = max(np.abs(each["w"]).max() for each in deltas) or 1.0
    assert np.abs(merged - expected).max() <= 1e-4 * scale


@pytest.mark.parametrize("size", [1e-30, 1e-10, 1e15, 1e30])
def test_models_of_any_size_are_merged(size, run):
    base, vectors = family(3, dtype=torch.float32)
    models = [{"w": size * (base + v)} for v in vectors]
    merged = run("neuromerging", models, {"w": size * base}, **WHOLE)["w"] / size
    again = run("neuromerging", [{"w": base + v} for v in vectors], {"w": base}, **WHOLE)["w"]
    torch.testing.assert_close(merged, again, rtol=1e-4, atol=1e-4)


# where the equations leave something open


def test_opposite_task_vectors_leave_the_base(delta):
    base, [vector] = family(1)
    assert delta(base, [vector, -vector]).abs().max() < 1e-12
    assert delta(base, [vector, -vector], lambda_parallel=1.0).abs().max() < 1e-12


def test_neurons_that_are_zero_in_the_base_and_vectors_are_merged_as_ties_does(run):
    base, vectors = family(3)
    base[[4, 7]] = 0.0
    origin = {"w": base, "bias": normal(5, 20)}
    models = [{"w": base + v, "bias": origin["bias"] + v[:, 0]} for v in vectors]
    merged = run("neuromerging", models, origin, density=0.4, rescale="none", lambda_orthogonal=1.5)
    by_entry = run("ties", models, origin, density=0.4, **{"lambda": 1.5})
    torch.testing.assert_close(merged["w"][[4, 7]], by_entry["w"][[4, 7]])
    torch.testing.assert_close(merged["bias"], by_entry["bias"])
    assert not torch.isclose(merged["w"][:4], by_entry["w"][:4]).all()


def test_directions_that_rounding_makes_up_are_not_counted():
    """Orthogonal vectors of which one coordinate is 1e-17 are still counted alone."""
    gram = np.diag([3.0, 2.0, 1.0]) + 1e-16
    np.testing.assert_allclose(orthogonal_weights(gram[None]), np.ones((1, 3)))


def test_an_elected_mean_leaves_out_what_disagrees_and_what_is_small():
    coordinates = np.array([[[1.0, 1.0], [0.25, 3.0], [-0.5, -1.0], [0.0, -3.0]]])
    assert elected_mean(coordinates).tolist() == [[0.625, 0.0]]
    assert elected_mean(coordinates, least=0.3).tolist() == [[1.0, 0.0]]


def test_counting_large_coordinates_only_is_stable_where_each_direction_is_one_vectors():
    """Orthogonal vectors and a millionth of noise: the literal rule counts the noise."""
    generator = np.random.default_rng(0)
    lone = np.diag([4.0, 3.0, 2.0, 1.0]) @ np.eye(4, 400)
    noisy = lone + 1e-6 * generator.standard_normal((200, 4, 400))

    def change(least):
        weights = [orthogonal_weights(v @ v.swapaxes(-1, -2), least=least) for v in (lone[None], noisy)]
        before, after = (
            np.einsum("rt,rtn->rn", w, v) for w, v in zip(weights, (lone[None], noisy), strict=True)
        )
        return np.linalg.norm(after - before, axis=1).max() / np.linalg.norm(before)

    assert change(0.3) < 1e-4
    assert change(0.0) > 0.5


# what is trimmed, and what makes up for it


def test_the_trim_looks_at_the_whole_model_unless_told_otherwise(run):
    zero = {"a": torch.zeros(2, 3), "b": torch.zeros(2, 3)}
    model = {"a": torch.full((2, 3), 5.0), "b": torch.ones(2, 3)}
    whole = run("neuromerging", [model], zero, density=0.5, rescale="none")
    assert torch.equal(whole["a"], model["a"])
    assert not whole["b"].any()
    apart = run("neuromerging", [model], zero, density=0.5, rescale="none", scope="tensor")
    assert torch.equal(apart["b"], model["b"])  # equals are all kept


@pytest.mark.parametrize(
    ("parameters", "factor"),
    [
        ({}, 7 / 5),  # the second model loses 2 of 7, the first 1 of 9
        ({"cap": 1.25}, 1.25),
        ({"lambda_orthogonal": 2.0}, 14 / 5),
        ({"rescale": "none"}, 1.0),
        ({"rescale": "none", "lambda_orthogonal": 2.0}, 2.0),
        ({"density": 1.0}, 1.0),
    ],
)
def test_the_scale_makes_up_for_what_the_trim_took_from_the_model_that_lost_most(parameters, factor, run):
    base = {"v": torch.zeros(4)}
    models = [{"v": torch.tensor([4.0, 4.0, 1.0, 0.0])}, {"v": torch.tensor([3.0, 2.0, 1.5, 0.5])}]
    merged = run("neuromerging", models, base, **{"density": 0.5, **parameters})["v"]
    plain = [3.5, 3.0, 1.25, 0.5] if parameters.get("density") == 1.0 else [3.5, 3.0, 0.0, 0.0]
    torch.testing.assert_close(merged, factor * torch.tensor(plain))


def test_where_everything_is_trimmed_the_base_stays(run):
    base, [vector] = family(1)
    assert torch.equal(run("neuromerging", [{"w": base + vector}], {"w": base}, density=0.0)["w"], base)


# what cannot be merged


@pytest.mark.parametrize("name", ["h.0.attn.c_attn.weight", "transformer.h.3.mlp.c_fc.weight"])
def test_matrices_that_are_stored_the_other_way_are_refused(name, run):
    base, model = {name: torch.zeros(4, 12)}, {name: torch.ones(4, 12)}
    with pytest.raises(
        ValueError, match=re.escape(f"Tensor {name!r}: `neuromerging` takes rows for neurons")
    ):
        run("neuromerging", [model], base)
    upright = run("neuromerging", [{name: torch.ones(12, 4)}], {name: torch.zeros(12, 4)})
    assert upright[name].all()  # as those that others call so
