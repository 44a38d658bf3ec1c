"""TSV-M, Iso-C and Iso-CTS: what they promise of singular values and directions, and where these are delicate."""

import numpy as np
import pytest
import torch

from merganser.merging.methods._matrices import polar_factor, singular

METHODS = ["tsv_m", "iso_c", "iso_cts"]


def normal(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def few_bits(seed, *shape):
    """Whole numbers, whose products float32 holds exactly."""
    return torch.randint(-8, 9, shape, generator=torch.Generator().manual_seed(seed)).float()


def merged(run, method, deltas, name="w", **parameters):
    """The merged task vector of one tensor, on a base of zero."""
    base = {name: torch.zeros_like(deltas[0])}
    return run(method, [{name: delta} for delta in deltas], base, **parameters)[name]


def orthogonal(seed, rows, columns):
    return torch.linalg.qr(normal(seed, rows, columns).double())[0]


KINDS = {
    "square": [normal(i, 60, 60) for i in range(3)],
    "tall": [normal(i, 120, 30) for i in range(4)],
    "wide": [normal(i, 30, 120) for i in range(4)],
    "kernel": [normal(i, 16, 3, 3, 3) for i in range(3)],
    "tiny": [1e-30 * normal(i, 40, 60) for i in range(3)],
    "huge": [1e30 * normal(i, 40, 60) for i in range(3)],
    "of unequal size": [10.0**-i * normal(i, 40, 60) for i in range(4)],
    "low rank": [few_bits(i, 50, 2) @ few_bits(10 + i, 2, 40) for i in range(3)],
    "sum of low rank": [few_bits(i, 50, 12) @ few_bits(10 + i, 12, 40) for i in range(3)],
    "repeated": [normal(0, 40, 50)] * 3,
    "repeated and not": [normal(0, 40, 50), normal(0, 40, 50), normal(1, 40, 50)],
    "one zero": [normal(0, 40, 50), torch.zeros(40, 50), normal(1, 40, 50)],
    "zero rows": [torch.cat([normal(i, 30, 50), torch.zeros(10, 50)]) for i in range(3)],
    "one": [normal(0, 40, 50)],
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_single_precision_agrees_with_whole_decompositions_in_double(method, kind, run, expected):
    base = {"w": torch.zeros_like(KINDS[kind][0])}
    models = [{"w": delta} for delta in KINDS[kind]]
    exact = expected(method, models, base)["w"]
    found = run(method, models, base)["w"].double().numpy()
    assert np.linalg.norm(found - exact) <= 1e-6 * np.linalg.norm(exact)


@pytest.mark.parametrize("method", METHODS)
def test_the_rounding_of_low_rank_task_vectors_does_not_count_as_directions(method, run):
    """Float32 leaves singular values of about 1e-7 where none should be; Iso would raise them to all the others'."""
    factors = [(normal(i, 60, 3).double(), normal(10 + i, 3, 80).double()) for i in range(2)]
    exact = merged(run, method, [a @ b for a, b in factors])
    rounded = merged(run, method, [(a @ b).float() for a, b in factors])
    torch.testing.assert_close(rounded.double(), exact, rtol=1e-4, atol=1e-4 * exact.abs().max().item())
    assert torch.linalg.matrix_rank(rounded, rtol=1e-3) == 6


@pytest.mark.parametrize("method", METHODS)
def test_the_scale_of_the_task_vectors_is_that_of_the_result(method, run):
    deltas = [normal(i, 30, 40) for i in range(3)]
    found = merged(run, method, deltas)
    for scale in (2.0**-90, 2.0**60):
        assert torch.equal(merged(run, method, [scale * delta for delta in deltas]), scale * found)
    torch.testing.assert_close(merged(run, method, deltas, alpha=2.5), 2.5 * found)


@pytest.mark.parametrize("method", METHODS)
def test_opposite_task_vectors_cancel(method, run):
    delta = normal(0, 40, 50)
    assert merged(run, method, [delta, -delta]).abs().max() < 1e-12


@pytest.mark.parametrize("method", ["tsv_m", "iso_c"])
def test_the_transpose_of_what_is_merged_is_merged_into_the_transpose(method, run):
    deltas = [normal(i, 30, 40) for i in range(3)]
    found = merged(run, method, [delta.T.contiguous() for delta in deltas])
    torch.testing.assert_close(found, merged(run, method, deltas).T, rtol=1e-5, atol=1e-6)


def test_tsv_m_of_one_task_is_its_task_vector(run):
    delta = normal(0, 30, 40)
    torch.testing.assert_close(merged(run, "tsv_m", [delta]), delta, rtol=1e-6, atol=1e-6)


def test_tsv_m_adds_up_small_tasks_that_do_not_touch(run):
    deltas = [torch.zeros(12, 15, dtype=torch.float64) for _ in range(3)]
    for i, delta in enumerate(deltas):
        delta[4 * i : 4 * i + 4, 5 * i : 5 * i + 5] = normal(i, 4, 5)
    torch.testing.assert_close(merged(run, "tsv_m", deltas), sum(deltas))


def test_tsv_m_keeps_the_largest_singular_values_of_every_task(run):
    deltas = [scale * normal(i, 30, 40).double() for i, scale in enumerate((1.0, 3.0, 0.5))]
    found = torch.linalg.svdvals(merged(run, "tsv_m", deltas))
    kept = torch.cat([torch.linalg.svdvals(delta)[:10] for delta in deltas])
    torch.testing.assert_close(found, kept.sort(descending=True).values)


def test_iso_c_makes_all_singular_values_the_mean(run):
    deltas = [normal(i, 30, 40).double() for i in range(3)]
    mean = torch.linalg.svdvals(sum(deltas)).mean()
    found = merged(run, "iso_c", deltas)
    torch.testing.assert_close(found @ found.T, mean**2 * torch.eye(30, dtype=torch.float64))
    torch.testing.assert_close((found * sum(deltas)).sum(), 30 * mean**2)


@pytest.mark.parametrize(
    ("common", "tasks", "rows", "shared"),
    [
        (0.0, 3, 31, 1),  # ten each
        (0.5, 3, 31, 16),  # five each, of 16 / 3
        (0.8, 3, 31, 25),  # two, of 7 / 3
        (0.865, 3, 31, 25),  # two, of 5 / 3
        (1.0, 3, 31, 31),
        (0.0, 4, 11, 3),  # two, for three would be more than there are
    ],
)
def test_iso_cts_takes_from_the_sum_what_equal_shares_leave(common, tasks, rows, shared, run):
    deltas = [normal(i, rows, 60).double() for i in range(tasks)]
    found = merged(run, "iso_cts", deltas, common=common)
    u, s, vt = torch.linalg.svd(sum(deltas), full_matrices=False)
    own = (rows - shared) // tasks
    triplets = [(u[:, :shared], s[:shared], vt[:shared].T)]
    for delta in deltas:
        apart = delta - u[:, :shared] @ u[:, :shared].T @ delta
        left, values, right = torch.linalg.svd(apart, full_matrices=False)
        triplets.append((left[:, :own], values[:own], right[:own].T))
    left, values, right = (torch.cat(each, dim=-1) for each in zip(*triplets, strict=True))
    torch.testing.assert_close(found, values.mean() * polar_factor(left) @ polar_factor(right).T)


def test_iso_cts_without_directions_of_its_own_is_iso_c(run):
    deltas = [normal(i, 30, 40) for i in range(3)]
    torch.testing.assert_close(
        merged(run, "iso_cts", deltas, common=1.0), merged(run, "iso_c", deltas), rtol=1e-5, atol=1e-6
    )


def test_iso_cts_takes_no_direction_from_what_only_rounding_leaves_outside_the_sum(run):
    delta = few_bits(0, 40, 3) @ few_bits(1, 3, 50)
    torch.testing.assert_close(
        merged(run, "iso_cts", [delta, delta]), merged(run, "iso_c", [delta, delta]), rtol=1e-5, atol=1e-4
    )


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("layers.0.mlp.up.bias", (30,)),
        ("scale", ()),
        ("classifier.weight", (2, 40)),
        ("classifier.weight", (40, 2)),
        ("model.embed_tokens.weight", (50, 8)),
        ("transformer.wte.weight", (50, 8)),
        ("wpe.weight", (50, 8)),
        ("shared.weight", (50, 8)),
        ("lm_head.weight", (50, 8)),
        ("experts", (4, 300, 300)),
        ("table", (65_537, 3)),
    ],
)
@pytest.mark.parametrize("method", [*METHODS, "wudi"])
def test_what_is_no_matrix_between_layers_is_averaged(method, name, shape, run):
    deltas = [normal(i, *shape) for i in range(3)]
    found = merged(run, method, deltas, name, alpha=0.5)
    torch.testing.assert_close(found, sum(deltas) / 6)


@pytest.mark.parametrize("method", [*METHODS, "wudi"])
@pytest.mark.parametrize(
    "name", ["w", "layers.0.mlp.shared_expert.up.weight", "layers.0.attention.shared.q.weight"]
)
def test_what_is_one_is_not_averaged(method, name, run):
    deltas = [normal(i, 20, 30) for i in range(3)]
    found = merged(run, method, deltas, name)
    assert (found - sum(deltas) / 3).norm() > 0.1 * found.norm()


@pytest.mark.parametrize("method", [*METHODS, "wudi"])
def test_kernels_are_matrices_with_a_row_for_each_output(method, run):
    deltas = [normal(i, 6, 4, 3, 3) for i in range(3)]
    flat = merged(run, method, [delta.flatten(1) for delta in deltas])
    assert torch.equal(merged(run, method, deltas).flatten(1), flat)


@pytest.mark.parametrize("shape", [(9, 5), (5, 9), (6, 6)])
def test_the_polar_factor_is_the_nearest_matrix_with_orthonormal_rows_or_columns(shape):
    matrix = normal(0, *shape).double()
    factor = polar_factor(matrix)
    gram = factor @ factor.T if shape[0] <= shape[1] else factor.T @ factor
    torch.testing.assert_close(gram, torch.eye(min(shape), dtype=torch.float64))
    stretch = factor.T @ matrix
    torch.testing.assert_close(stretch, stretch.T)
    assert torch.linalg.eigvalsh(stretch).min() > -1e-12


@pytest.mark.parametrize("shape", [(9, 5), (5, 9), (9, 9)])
@pytest.mark.parametrize("rank", [0, 1, 3])
def test_the_polar_factor_of_a_matrix_that_lacks_directions_lacks_them_too(shape, rank):
    u, v = orthogonal(0, shape[0], rank), orthogonal(1, shape[1], rank)
    matrix = u @ torch.diag(torch.tensor([3.0, 1e-3, 0.5], dtype=torch.float64)[:rank]) @ v.T
    torch.testing.assert_close(polar_factor(matrix), u @ v.T)


@pytest.mark.parametrize("shape", [(9, 5), (5, 9)])
def test_singular_triplets_are_the_largest_in_order(shape):
    matrix = normal(0, *shape)
    u, s, v = singular(matrix, 3)
    left, values, right = np.linalg.svd(matrix.double().numpy(), full_matrices=False)
    np.testing.assert_allclose(s, values[:3])
    np.testing.assert_allclose((u * s) @ v.T, left[:, :3] * values[:3] @ right[:3], atol=1e-12)


def test_singular_values_that_are_next_to_nothing_are_left_out():
    u, v = orthogonal(0, 9, 3), orthogonal(1, 7, 3)
    matrix = u @ torch.diag(torch.tensor([2.0, 3e-6, 1e-6], dtype=torch.float64)) @ v.T
    torch.testing.assert_close(singular(matrix, 7).s, torch.tensor([2.0, 3e-6], dtype=torch.float64))
    assert len(singular(matrix, 7, beside=100.0).s) == 1
    assert len(singular(torch.zeros(9, 7), 7).s) == 0
