"""Places: views that follow tensors through what a library does with them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from merganser.models._memory import write_range
from merganser.models._places import Watch, carried


def test_stacked_concatenated_and_transposed_tensors_are_followed():
    gates, ups = ([torch.empty(2, 3) for _ in range(4)] for _ in range(2))
    places = {f"{kind}{i}": t for kind, ts in (("gate", gates), ("up", ups)) for i, t in enumerate(ts)}
    with Watch(places):
        packed = torch.cat([torch.stack(gates), torch.stack(ups)], dim=1).transpose(1, 2).contiguous()
    packed.zero_()
    places["up2"].copy_(torch.arange(1.0, 7.0).view(2, 3))
    expected = torch.zeros(4, 3, 4)
    expected[2, :, 2:] = torch.arange(1.0, 7.0).view(2, 3).T
    assert packed.equal(expected)


def test_tensors_that_nobody_follows_are_computed_as_ever():
    with Watch({"a": torch.empty(2)}):
        assert torch.cat([torch.ones(1), torch.zeros(1)]).tolist() == [1.0, 0.0]


def test_what_is_cut_and_copied_piece_by_piece_is_not_followed():
    whole = torch.empty(2, 4)
    places = {"whole": whole}
    with Watch(places):
        pieces = [piece.contiguous() for piece in whole.chunk(2, dim=1)]
    assert places["whole"] is whole
    assert all(piece.data_ptr() != whole.data_ptr() for piece in pieces)


def test_half_of_a_tensor_carries_no_whole_one():
    whole = torch.arange(8.0).view(4, 2)
    assert carried(whole, whole[:2], torch.zeros(2, 2)) is None
    assert carried(whole[2:], whole[:2], torch.zeros(2, 2)) is None


@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    order=st.randoms(use_true_random=False),
    cuts=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_any_range_of_any_layout_is_written_where_it_belongs(shape, order, cuts):
    axes = list(range(len(shape)))
    order.shuffle(axes)
    place = torch.zeros([shape[a] for a in axes]).permute([axes.index(a) for a in range(len(shape))])
    assert list(place.shape) == shape
    size = place.numel()
    begin, end = sorted(int(cut * size) for cut in cuts)
    write_range(place, begin, torch.arange(begin, end, dtype=torch.float32) + 1)
    expected = torch.zeros(size)
    expected[begin:end] = torch.arange(begin, end, dtype=torch.float32) + 1
    assert place.reshape(-1).equal(expected)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_stacking_along_any_axis(axis):
    places = {"a": torch.empty(2, 3), "b": torch.empty(2, 3)}
    given_tensors = list(places.values())
    with Watch(places):
        together = torch.stack(given_tensors, dim=axis)
    places["a"].fill_(1.0)
    places["b"].fill_(2.0)
    assert together.equal(torch.stack([torch.full((2, 3), 1.0), torch.full((2, 3), 2.0)], dim=axis))
