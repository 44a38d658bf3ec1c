"""However a tensor is cut, the same elements come, in blocks that begin where partial sums can be taken."""

import threading
import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from merganser import CheckpointError
from merganser.weights import (
    DEFAULT_CHUNK,
    REDUCTION,
    Aligned,
    Buffers,
    Checkpoint,
    Execution,
    open_checkpoint,
    row_run,
    save,
    single_threaded,
)

LONG = 3 * REDUCTION + 17


def model(shape, dtype=torch.float32, seed=0):
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return Checkpoint.from_tensors({"w": values.to(dtype)})


def aligned(*checkpoints, **options):
    return Aligned(tuple((checkpoint, "w") for checkpoint in checkpoints), **options)


def walked(tensor, execution=None, *span):
    """Begin and a copy of the values of every block."""
    walk = tensor.blocks(execution or Execution(), Buffers(), *span)
    return [(begin, values.clone()) for begin, values in walk]


@given(chunk=st.integers(1, 5 * REDUCTION))
def test_the_blocks_of_any_chunk_join_to_the_tensors_and_begin_at_whole_runs(chunk):
    first, second = model((LONG,), seed=1), model((LONG,), torch.bfloat16, seed=2)
    blocks = walked(aligned(first, second), Execution(chunk=chunk))
    assert [begin % REDUCTION for begin, _ in blocks] == [0] * len(blocks)
    joined = torch.cat([values for _, values in blocks], dim=1)
    assert joined.equal(torch.stack([first.read("w"), second.read("w").float()]))
    assert [len(values[0]) for _, values in blocks[:-1]] == [-(-chunk // REDUCTION) * REDUCTION] * (
        len(blocks) - 1
    )


@given(
    chunk=st.integers(1, 3 * REDUCTION),
    shape=st.sampled_from(
        [(1300, 11), (1, 90), (9000, 1), (3, 500, 6), (2, 2 * REDUCTION), (5,), (), (0, 4), (4, 0)]
    ),
)
def test_blocks_hold_whole_rows_where_rows_matter_and_begin_at_runs_of_them(chunk, shape):
    tensor = aligned(model(shape), whole_rows=True)
    run, columns = row_run(tensor.columns), max(tensor.columns, 1)
    assert REDUCTION <= run < REDUCTION + columns
    blocks = walked(tensor, Execution(chunk=chunk))
    for begin, values in blocks:
        assert begin % run == values.shape[1] % columns == run % columns == 0
        assert values.shape[1] == tensor.numel - begin or chunk <= values.shape[1] < chunk + run
    assert sum(values.shape[1] for _, values in blocks) == tensor.numel


def test_a_row_is_the_last_dimension_and_a_scalar_has_one_element():
    sizes = [(aligned(model(shape)).columns, aligned(model(shape)).numel) for shape in [(), (5,), (2, 3, 4)]]
    assert sizes == [(1, 1), (5, 5), (4, 24)]


@pytest.mark.parametrize("shape", [(0,), (0, 4), (4, 0)])
def test_a_tensor_without_elements_has_no_blocks(shape):
    assert walked(aligned(model(shape), model(shape))) == []


@pytest.mark.parametrize("chunk", [1, REDUCTION, DEFAULT_CHUNK])
def test_a_part_holds_the_elements_asked_for(chunk):
    tensor = aligned(model((LONG,)))
    blocks = walked(tensor, Execution(chunk=chunk), REDUCTION, LONG - 5)
    assert blocks[0][0] == REDUCTION
    assert torch.cat([v for _, v in blocks], dim=1)[0].equal(model((LONG,)).read("w")[REDUCTION : LONG - 5])


def test_double_precision_in_one_model_makes_all_rows_double():
    mixed = aligned(model((3,)), model((3,), torch.float64), model((3,), torch.float16))
    [(_, values)] = walked(mixed)
    assert values.dtype == torch.float64
    assert values[1].equal(model((3,), torch.float64).read("w"))
    [(_, values)] = walked(aligned(model((3,)), model((3,), torch.float16)))
    assert values.dtype == torch.float32


def test_every_model_is_read_under_its_own_name():
    other = Checkpoint.from_tensors({"v": torch.tensor([3.0, 4.0])})
    pair = Aligned(((Checkpoint.from_tensors({"w": torch.tensor([1.0, 2.0])}), "w"), (other, "v")))
    [(_, values)] = walked(pair)
    assert values.tolist() == [[1.0, 2.0], [3.0, 4.0]]


@given(
    chunk=st.integers(1, 4 * REDUCTION),
    stride=st.integers(2, 5),
    runs=st.integers(1, 9),
    rest=st.integers(0, 9),
)
def test_a_sample_is_one_run_out_of_so_many_whatever_the_chunk(chunk, stride, runs, rest):
    length = runs * REDUCTION + rest
    tensor, values = aligned(model((length,))), model((length,)).read("w")
    sampled = [(b, v.clone()) for b, v in tensor.blocks(Execution(chunk=chunk), Buffers(), stride=stride)]
    assert [begin for begin, _ in sampled] == list(range(0, length, stride * REDUCTION))
    assert all(v[0].equal(values[begin : begin + REDUCTION]) for begin, v in sampled)


def test_a_sample_of_whole_rows_has_whole_rows():
    tensor = aligned(model((9, 1000)), whole_rows=True)
    sampled = [
        (block.begin, block.values.shape[1]) for block in tensor.blocks(Execution(), Buffers(), stride=3)
    ]
    assert sampled == [(0, 4 * 1000 + 1000)]  # five rows are the fewest that hold a run


def test_asking_for_elements_ahead_changes_nothing_wherever_they_are(tmp_path):
    held = model((LONG,))
    one, many = (save(held, tmp_path / f"{size}", shard_size=size) for size in (None, 1))
    tensor = aligned(held, one, many, open_checkpoint(tmp_path / "1"))
    for begin, end in [(0, 0), (0, LONG), (5, 6), (LONG - 1, LONG), (LONG, LONG)]:
        assert tensor.will_need(begin, end) is None
    assert all(row.equal(held.read("w")) for row in walked(tensor)[0][1])


def test_what_a_consumer_writes_into_a_block_reaches_no_model():
    checkpoint = model((LONG,))
    digest = checkpoint.digest
    for block in aligned(checkpoint, checkpoint).blocks(Execution(chunk=REDUCTION), Buffers()):
        block.values.zero_()
    assert checkpoint.read("w").equal(model((LONG,)).read("w"))
    assert Checkpoint.from_tensors({"w": checkpoint.read("w")}).digest == digest


def test_the_memory_of_blocks_is_used_again():
    buffers, places = Buffers(), set()
    for shape in [(LONG,), (40, 100), (5,)]:
        for block in aligned(model(shape)).blocks(Execution(chunk=1), buffers):
            places.add(block.values.data_ptr())
    assert len(places) == 1


def test_buffers_grow_are_apart_for_types_and_threads_and_have_the_shape_asked_for():
    buffers, others = Buffers(), []
    small = buffers.matrix(2, 3, torch.float32, "cpu")
    large = buffers.matrix(4, 5, torch.float32, "cpu")
    assert (small.shape, large.shape) == ((2, 3), (4, 5))
    assert buffers.matrix(1, 20, torch.float32, "cpu").data_ptr() == large.data_ptr()
    assert buffers.matrix(1, 20, torch.float64, "cpu").data_ptr() != large.data_ptr()
    thread = threading.Thread(target=lambda: others.append(buffers.matrix(4, 5, torch.float32, "cpu")))
    thread.start()
    thread.join()
    assert others[0].data_ptr() != large.data_ptr()
    assert buffers.matrix(0, 7, torch.float32, "cpu").shape == (0, 7)


def test_a_file_that_changed_is_not_walked(tmp_path):
    checkpoint = save({"w": torch.ones(8)}, tmp_path / "m.safetensors")
    save({"w": torch.zeros(9)}, tmp_path / "m.safetensors", overwrite=True)
    with pytest.raises(CheckpointError, match="has changed since it was opened"):
        walked(aligned(checkpoint))
    assert walked(aligned(open_checkpoint(tmp_path / "m.safetensors")))[0][1].tolist() == [[0.0] * 9]


@pytest.mark.parametrize("options", [{"workers": 0}, {"chunk": 0}, {"workers": -1}])
def test_an_execution_needs_a_worker_and_an_element(options):
    with pytest.raises(ValueError, match="at least one worker and one element a chunk"):
        Execution(**options)


@pytest.mark.parametrize("workers", [1, 2, 5])
class TestMap:
    def test_results_come_in_order_whoever_is_done_first(self, workers):
        def wait_less_and_less(i):
            time.sleep((10 - i) / 2000)
            return i * i

        assert list(Execution(workers).map(wait_less_and_less, range(10))) == [i * i for i in range(10)]

    def test_nothing_in_gives_nothing_out(self, workers):
        assert list(Execution(workers).map(str, [])) == []

    def test_few_items_are_taken_ahead(self, workers):
        taken = []

        def items():
            for i in range(1000):
                taken.append(i)
                yield i

        results = Execution(workers).map(lambda i: i, items())
        assert next(results) == 0
        assert len(taken) <= 3 * workers
        results.close()

    def test_an_exception_comes_out_and_ends_the_rest(self, workers):
        done = []

        def fail_at_the_third(i):
            if i == 3:
                raise RuntimeError("the third")
            done.append(i)

        with pytest.raises(RuntimeError, match="the third"):
            list(Execution(workers).map(fail_at_the_third, range(1000)))
        assert len(done) < 3 + 3 * workers
        assert not any(thread.name.startswith("merganser") for thread in threading.enumerate())


def test_torch_gets_its_threads_back_even_after_an_error():
    def fail_inside():
        with single_threaded():
            assert torch.get_num_threads() == 1
            raise RuntimeError

    before = torch.get_num_threads()
    with pytest.raises(RuntimeError):
        fail_inside()
    assert torch.get_num_threads() == before
