"""Order statistics without a sort, against a sort: ties, sorted data that misleads the sample, more than is held."""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from merganser.merging import _execute
from merganser.merging.methods import Noise, Part, _select
from merganser.merging.methods._select import Wanted, largest, magnitudes


class Rows:
    """A scan over rows of numbers, in parts; a sample takes one run of `run` numbers out of `stride`."""

    has_base = False

    def __init__(self, rows, part=37, run=5):
        self.rows, self.models, self.numel = torch.as_tensor(rows), len(rows), len(rows[0])
        self.part, self.run, self.passes = part, run, 0

    def __call__(self, measure, *, stride=1):
        self.passes += stride == 1
        length = self.run if stride > 1 else self.part
        for begin in range(0, self.numel, length * stride):
            values = self.rows[:, begin : begin + length].clone()
            yield measure(Part(values, None, begin, 1, Noise(0, ""), ""))


@contextmanager
def little():
    """A sample of little, and little that may be held, so that small data goes every way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_select, "_STRIDE", 4)
        patch.setattr(_select, "_SAMPLE", 1 << 10)
        patch.setattr(_select, "_HELD", 50)
        yield


@pytest.fixture
def eager():
    with little():
        yield


def descending(row):
    return np.sort(np.abs(np.asarray(row)))[::-1]


KINDS = {
    "normal": lambda g, n: g.standard_normal(n),
    "few values": lambda g, n: g.integers(-3, 4, n) / 8,
    "mostly zero": lambda g, n: g.standard_normal(n) * (g.random(n) < 0.05),
    "constant": lambda g, n: np.full(n, g.standard_normal()),
    "ascending": lambda g, n: np.sort(np.abs(g.standard_normal(n))),
    "descending": lambda g, n: -np.sort(-np.abs(g.standard_normal(n))),
    "far outliers": lambda g, n: g.standard_normal(n) * 10.0 ** g.integers(-30, 30, n),
    "large only where no sample looks": lambda g, n: (
        np.where(np.arange(n) % 20 < 5, 1e-3, 1.0) * g.standard_normal(n)
    ),
    "small only where no sample looks": lambda g, n: (
        np.where(np.arange(n) % 20 < 5, 1.0, 1e-3) * g.standard_normal(n)
    ),
}


@settings(max_examples=150)
@given(
    st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=3),
    st.integers(1, 2000),
    st.integers(0, 2**32),
    st.data(),
)
def test_every_rank_is_that_of_a_full_sort(kinds, size, seed, data):
    generator = np.random.default_rng(seed)
    rows = np.stack([KINDS[kind](generator, size) for kind in kinds]).astype(
        data.draw(st.sampled_from([np.float32, np.float64]))
    )
    near_an_end = st.integers(-1, 3) | st.integers(size - 3, size + 2)
    ranks = st.tuples(st.integers(0, len(kinds) - 1), st.integers(0, size) | near_an_end)
    wanted = [Wanted(*pair) for pair in data.draw(st.lists(ranks, min_size=1, max_size=4))]
    with little():
        found = largest(Rows(rows, part=data.draw(st.sampled_from([7, 100, 5000]))), magnitudes, wanted)
    for (row, rank), number in zip(wanted, found, strict=True):
        expected = np.inf if rank < 1 else -np.inf if rank > size else float(descending(rows[row])[rank - 1])
        assert number == expected


@pytest.mark.parametrize("kind", ["normal", "few values", "mostly zero", "constant"])
def test_one_pass_is_enough_where_a_sample_tells(kind, eager):
    rows = KINDS[kind](np.random.default_rng(0), 20_000)[None]
    scan = Rows(rows)
    largest(scan, magnitudes, [Wanted(0, 4000), Wanted(0, 16_000)])
    assert scan.passes == 1


@pytest.mark.parametrize("kind", ["ascending", "large only where no sample looks"])
def test_a_second_pass_mends_what_the_sample_got_wrong(kind, eager):
    rows = KINDS[kind](np.random.default_rng(0), 20_000)[None]
    for rank in (1, 100, 10_000, 19_900, 20_000):
        scan = Rows(rows)
        assert largest(scan, magnitudes, [Wanted(0, rank)]) == [descending(rows[0])[rank - 1]]
        assert scan.passes <= 2


def test_nothing_to_find_reads_nothing():
    scan = Rows(np.ones((1, 9)))
    assert largest(scan, magnitudes, [Wanted(0, 0), Wanted(0, 10)]) == [np.inf, -np.inf]
    assert scan.passes == 0


@pytest.mark.parametrize("fault", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_are_refused(fault, eager):
    rows = np.ones((2, 500))
    rows[1, 333] = fault
    with pytest.raises(ValueError, match="NaN or infinite"):
        largest(Rows(rows), magnitudes, [Wanted(0, 100)])


def test_numbers_whose_sum_overflows_are_accepted():
    rows = np.full((1, 500), 3e38, np.float32)
    assert largest(Rows(rows), magnitudes, [Wanted(0, 100)]) == [float(np.float32(3e38))]


class Mixed(Rows):
    """Every other part in float32."""

    def __call__(self, measure, *, stride=1):
        return super().__call__(lambda part: measure(self._narrowed(part)), stride=stride)

    def _narrowed(self, part):
        return replace(part, values=part.values.float()) if part.begin // self.part % 2 == 0 else part


def test_parts_may_be_of_different_precision(eager):
    generator = np.random.default_rng(0)
    rows = generator.integers(1, 50, (1, 4000)) / 7 + generator.integers(0, 400, (1, 4000)) * 1e-9
    ordered = descending(np.concatenate(list(Mixed(rows)(lambda part: part.values[0].double().numpy()))))
    for rank in (1, 10, 400, 2000, 3999, 4000):
        assert largest(Mixed(rows), magnitudes, [Wanted(0, rank)]) == [ordered[rank - 1]]


def test_a_bracket_that_ends_between_two_float32_numbers_counts_neither_wrongly(monkeypatch):
    step = 2.0**-23
    narrow, end, wide = 1 + step, 1 + 0.6 * step, 1 + 0.8 * step  # `end` as a float32 would be `narrow`
    monkeypatch.setattr(_select, "_bracket", lambda ascending, fraction: (0.5, end))
    for rank, number in enumerate([narrow, narrow, narrow, wide, end], start=1):
        scan = Mixed(np.array([[narrow, narrow, narrow, end, wide]]), part=3)
        assert largest(scan, magnitudes, [Wanted(0, rank)]) == [number]


def test_a_sample_of_a_model_takes_its_share_of_every_tensor(run, monkeypatch):
    """Began it anew in every tensor, it would hold the small ones whole, and mislead in every large model."""
    tensors = {f"small{i}": 1e-6 * torch.randn(300) for i in range(500)}
    tensors["large"] = 1e-3 * torch.randn(640, 4096, generator=torch.Generator().manual_seed(0))
    base = {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}
    passes = []
    one_pass = _select._pass
    monkeypatch.setattr(_select, "_pass", lambda *given: passes.append(1) or one_pass(*given))
    run("ties", [tensors], base, density=0.3, workers=2)
    assert len(passes) == 1


def test_thresholds_do_not_depend_on_how_the_model_is_cut(run, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    tensors = {f"t{i}": torch.randn(50 * i, 131, generator=generator).sort()[0] for i in range(1, 9)}
    base = {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}
    every = torch.cat([tensor.reshape(-1).abs() for tensor in tensors.values()])
    threshold = every.sort(descending=True)[0][int(0.37 * len(every)) - 1]
    for unit, workers in [(1 << 23, 1), (4096, 2), (20_000, 3)]:
        monkeypatch.setattr(_execute, "_UNIT", unit)
        merged = run("ties", [tensors], base, density=0.37, workers=workers)
        for name, tensor in tensors.items():
            assert torch.equal(merged[name], tensor * (tensor.abs() >= threshold))
