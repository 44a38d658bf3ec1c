"""So many entries and no more, as a stable sort would take them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from merganser.merging.methods.mergekit._order import Take, borders, taken_


def sorted_take(row, count, smallest):
    """What a stable sort from one end takes."""
    order = np.argsort(row if smallest else -row, kind="stable")
    mask = np.zeros(len(row))
    mask[order[:count]] = 1
    return mask


def found_take(scan, rows, takes):
    def numbers(part):
        return list(part.values)

    found = borders(scan, numbers, takes)
    masks = [
        np.concatenate([taken_(part.values[take.row], border, part.begin).numpy() for part in scan.parts()])
        for take, border in zip(takes, found, strict=True)
    ]
    return [mask * (rows[take.row] != 0) for mask, take in zip(masks, takes, strict=True)]


@given(st.data(), st.integers(1, 60), st.integers(1, 4), st.integers(1, 70), st.integers(0, 99))
def test_what_is_taken_is_what_a_stable_sort_takes(tensor_scan, data, size, levels, length, seed):
    rows = np.random.default_rng(seed).integers(0, levels + 1, (2, size)).astype(np.float32)
    counts = data.draw(st.lists(st.integers(0, size + 1), min_size=4, max_size=4))
    takes = [Take(i % 2, count, smallest=i > 1) for i, count in enumerate(counts)]
    scan = tensor_scan([torch.from_numpy(row) for row in rows], length=length)
    for take, mask in zip(takes, found_take(scan, rows, takes), strict=True):
        expected = sorted_take(rows[take.row], take.count, take.smallest) * (rows[take.row] != 0)
        np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize("density", [0.1, 0.5, 0.9])
def test_ties_keeps_no_more_than_it_is_told_where_many_are_equal(density, merge_tensor):
    generator = torch.Generator().manual_seed(0)
    model = torch.randint(1, 5, (50, 41), generator=generator).float()
    merged = merge_tensor(
        "ties", [model], torch.zeros_like(model), {"weight": 1.0, "density": density}, length=100
    )
    assert int(merged.count_nonzero()) == int(density * model.numel())
    assert (model[merged != 0].min() >= model[merged == 0].max()).item()
