"""Reading a range of flat positions equals slicing the concatenation of all tensors."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from merganser.weights import Checkpoint, FlatLayout, check_aligned, flat_read, save

SHAPES = {"1.weight": (2, 3), "1.bias": (), "10.weight": (0, 4), "2.weight": (5,), "wte.weight": (3, 1, 2)}
TYPES = st.sampled_from([torch.float32, torch.bfloat16, torch.float64])
ORDER = ["wte.weight", "1.weight", "1.bias", "2.weight", "10.weight"]


def model(dtype=torch.float32, seed=0, **changes):
    generator = torch.Generator().manual_seed(seed)
    shapes = {name: shape for name, shape in (SHAPES | changes).items() if shape is not None}
    tensors = {name: torch.randn(shape, generator=generator).to(dtype) for name, shape in shapes.items()}
    return Checkpoint.from_tensors({**tensors, "2.steps": torch.tensor(3)})


def concatenation(checkpoint):
    return torch.cat([checkpoint.read(name).double().reshape(-1) for name in ORDER]).numpy()


def test_positions_follow_flat_order_and_leave_buffers_out():
    layout = model().layout
    assert list(layout.names) == ORDER
    assert layout.starts == (0, 6, 12, 13, 18)
    assert layout.size == 18
    assert layout.spans()["2.weight"] == (13, 18)
    assert layout.spans()["10.weight"] == (18, 18)


@given(st.integers(0, 18), st.integers(0, 18), TYPES)
def test_any_range_equals_the_slice_of_the_concatenation(first, second, dtype):
    begin, end = sorted((first, second))
    checkpoint = model(dtype)
    np.testing.assert_array_equal(flat_read(checkpoint, begin, end), concatenation(checkpoint)[begin:end])


@given(st.integers(0, 18), st.integers(0, 18))
def test_pieces_cover_the_range_without_gaps(first, second):
    begin, end = sorted((first, second))
    position = begin
    for piece in model().layout.locate(begin, end):
        assert piece.position == position
        assert piece.end > piece.begin
        position += piece.end - piece.begin
    assert position == end


def test_a_file_reads_as_memory_does(tmp_path):
    checkpoint = model(torch.bfloat16)
    np.testing.assert_array_equal(flat_read(save(checkpoint, tmp_path / "m")), concatenation(checkpoint))


def test_only_the_tensors_in_the_range_are_touched():
    checkpoint = model()
    touched = []
    source = checkpoint.tensors
    view = source.view
    source.view = lambda name: touched.append(name) or view(name)
    flat_read(checkpoint, 7, 13)
    assert touched == ["1.weight", "1.bias"]


def test_out_is_filled_and_sets_the_type():
    checkpoint, out = model(), np.empty(3, np.float32)
    assert flat_read(checkpoint, 4, 7, out=out) is out
    np.testing.assert_array_equal(out, concatenation(checkpoint)[4:7].astype(np.float32))
    assert flat_read(checkpoint, dtype="float32").dtype == np.float32
    assert flat_read(checkpoint).dtype == np.float64


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"begin": -1}, ValueError, "0 <= begin <= end <= 18, but begin is -1"),
        ({"begin": 3, "end": 2}, ValueError, "begin is 3 and end is 2"),
        ({"end": 19}, ValueError, "end is 19"),
        ({"dtype": "float16"}, TypeError, "float64 or float32, but float16"),
        ({"out": np.empty(3)}, ValueError, r"must have shape \(18,\) and type float64, but has \(3,\)"),
        ({"out": np.empty(18), "dtype": "float32"}, ValueError, "type float32, but has .* float64"),
        ({"out": np.empty(18, int)}, TypeError, "int64 was asked for"),
    ],
)
def test_impossible_reads_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        flat_read(model(), **options)


def test_unflatten_undoes_flat_read_and_gives_views():
    checkpoint = model()
    vector = flat_read(checkpoint)
    tensors = checkpoint.layout.unflatten(vector)
    assert list(tensors) == ORDER
    for name, tensor in tensors.items():
        assert tensor.shape == SHAPES[name]
        np.testing.assert_array_equal(tensor, checkpoint.array(name))
    tensors["wte.weight"][0] = 42
    assert vector[0] == 42


def test_unflatten_refuses_a_vector_of_another_size():
    with pytest.raises(ValueError, match=r"must have shape \(18,\), but has \(17,\)"):
        model().layout.unflatten(np.zeros(17))


def test_a_model_without_floating_tensors_is_an_empty_vector():
    assert flat_read(Checkpoint.from_tensors({"ids": np.arange(3)})).shape == (0,)
    assert FlatLayout.of([]).locate(0, 0) == ()


def test_models_of_one_shape_are_aligned_whatever_their_types():
    first = model()
    assert check_aligned([first, model(torch.bfloat16, seed=1), model(seed=2)]) is first.layout


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"1.weight": (3, 2)}, r"'1.weight' has shape \(2, 3\) in A, but \(3, 2\) in B"),
        ({"2.weight": None}, "'2.weight' is in A, but not in B"),
        ({"3.weight": (1,)}, "'3.weight' is in B, but not in A"),
        ({"1.weight": (1,), "2.weight": None}, "'1.weight' has shape"),
    ],
)
def test_the_first_tensor_that_differs_is_named(changes, message):
    first = Checkpoint(model().tensors, source="A")
    with pytest.raises(ValueError, match=message):
        check_aligned([first, first, Checkpoint(model(**changes).tensors, source="B")])


def test_a_quantised_tensor_is_called_by_its_type():
    plain = Checkpoint.from_tensors({"w": torch.ones(2)})
    quantised = Checkpoint.from_tensors({"w": torch.ones(2, dtype=torch.int8)})
    with pytest.raises(ValueError, match="'w' is F32 in memory, but I8, which is not floating"):
        check_aligned([plain, quantised])


def test_aligning_nothing_is_misuse():
    with pytest.raises(ValueError, match="at least one checkpoint"):
        check_aligned([])
