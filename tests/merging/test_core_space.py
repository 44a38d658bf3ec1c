"""Adapters in their common directions: nothing is lost, and rules that commute with a change of basis agree."""

import pytest
import torch

from merganser.merging._core_space import Adapter, core_space, merge_adapters
from merganser.merging.methods._subspace import IsoC, TsvM
from merganser.merging.methods._wudi import Wudi


def adapter(seed, rank, rows=40, columns=60, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.randn(rank, columns, generator=generator), torch.randn(rows, rank, generator=generator)
    return Adapter(a.to(dtype), b.to(dtype))


EQUAL = [adapter(seed, 4) for seed in range(3)]
KINDS = {
    "equal ranks": EQUAL,
    "several ranks": [adapter(0, 2), adapter(1, 7), adapter(2, 1)],
    "one": [adapter(0, 3)],
    "the same twice": [adapter(0, 3), adapter(0, 3)],
    "a shared factor": [Adapter(adapter(0, 3).a, adapter(seed, 3).b) for seed in range(3)],
    "more ranks than rows": [adapter(seed, 20) for seed in range(4)],
    "of unequal size": [Adapter(adapter(0, 3).a, 1e-9 * adapter(0, 3).b), adapter(1, 3)],
    "zero": [adapter(0, 3), Adapter(adapter(1, 3).a, torch.zeros(40, 3).double())],
}


def products(adapters):
    return torch.stack([b.double() @ a.double() for a, b in adapters])


@pytest.mark.parametrize("kind", KINDS)
def test_cores_in_their_bases_are_the_adapters(kind):
    adapters = KINDS[kind]
    u, cores, v = core_space(adapters)
    rank = sum(len(a) for a, _ in adapters)
    assert cores.shape == (len(adapters), min(rank, 40), min(rank, 60))
    for basis in (u, v):
        torch.testing.assert_close(basis.T @ basis, torch.eye(basis.shape[1]).double())
    for core, product in zip(cores, products(adapters), strict=True):
        assert (u @ core @ v.T - product).norm() <= 1e-12 * product.norm()


@pytest.mark.parametrize("kind", KINDS)
def test_a_sum_of_cores_is_the_sum_of_the_adapters(kind):
    merged = merge_adapters(KINDS[kind], lambda cores: cores.sum(dim=0))
    torch.testing.assert_close(merged.b @ merged.a, products(KINDS[kind]).sum(dim=0))


def test_tsv_m_is_the_same_there_as_on_whole_matrices():
    merged, method = merge_adapters(EQUAL, TsvM(1.0).merged), TsvM(1.0)
    torch.testing.assert_close(merged.b @ merged.a, method.merged(products(EQUAL)))


def test_iso_c_is_the_same_but_for_the_directions_over_which_it_takes_the_mean():
    """Of the layer's 40 directions the core has 12, and the others count as zero."""
    merged = merge_adapters(EQUAL, IsoC(1.0).merged)
    torch.testing.assert_close(merged.b @ merged.a * 12 / 40, IsoC(1.0).merged(products(EQUAL)))


def test_wudi_is_the_same_with_the_ridge_of_the_whole_matrices():
    """Of the layer's 60 columns the core has 12: its mean diagonal is five times as large."""
    merged = merge_adapters(EQUAL, Wudi(1.0, 0.01 * 12 / 60).merged)
    torch.testing.assert_close(merged.b @ merged.a, Wudi(1.0, 0.01).merged(products(EQUAL)))


def test_merged_factors_have_the_type_and_the_rank_of_the_adapters():
    adapters = [adapter(0, 2, dtype=torch.bfloat16), adapter(1, 3, dtype=torch.bfloat16)]
    a, b = merge_adapters(adapters, TsvM(1.0).merged)
    assert (a.dtype, b.dtype, a.shape, b.shape) == (torch.bfloat16, torch.bfloat16, (5, 60), (40, 5))


@pytest.mark.parametrize(
    "adapters",
    [
        [],
        [adapter(0, 3), adapter(1, 3, rows=41)],
        [adapter(0, 3), adapter(1, 3, columns=61)],
        [Adapter(adapter(0, 3).a, adapter(0, 4).b)],
    ],
    ids=["none", "rows", "columns", "ranks"],
)
def test_adapters_of_different_layers_are_refused(adapters):
    with pytest.raises(ValueError, match=r"Expected at least one adapter|Adapters of one layer must be"):
        core_space(adapters)
