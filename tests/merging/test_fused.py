"""Sums in one pass over stored numbers: what torch computes, bit for bit, and only faster."""

import sys

import numpy as np
import pytest
import torch

from merganser import CheckpointError, merge
from merganser.merging import Combination, Engine, _fused, materialise, plan_combination
from merganser.merging.methods import Mixture
from merganser.weights import Checkpoint, Execution

DTYPES = {"BF16": torch.bfloat16, "F32": torch.float32}
SPECIAL = [0.0, -0.0, 1e-40, -1e-40, 1e-45, 3e38, -3e38, 1.0, -1.0, 1.00390625, 0.333333343, 1.17549435e-38]


@pytest.fixture(autouse=True)
def small_models_too(monkeypatch):
    monkeypatch.setattr(_fused, "WORTH_LOADING", 0)


@pytest.fixture
def without(monkeypatch):
    """Computes something as if numba were not installed."""

    def without(function):
        with monkeypatch.context() as patch:
            patch.setattr(_fused, "WORTH_LOADING", float("inf"))
            return function()

    return without


def numbers(dtype, rows, length, seed=0):
    """Rows of numbers of all sizes; sums of five stay finite."""
    generator = torch.Generator().manual_seed(seed)
    exponents = torch.randint(-140, 120, (rows, length), generator=generator)
    values = torch.ldexp(torch.randn((rows, length), generator=generator), exponents)
    special = torch.tensor(SPECIAL) * 0.1
    at = torch.randint(0, len(special), (rows, length), generator=generator)
    is_special = torch.rand((rows, length), generator=generator) < 0.3
    return torch.where(is_special, special[at], values).to(dtype)


def in_torch(mixture, rows, dtype):
    """The sums, each operation of the definition a pass of its own."""
    out = torch.empty(rows.shape[1])
    breaks = mixture.breaks.tolist()
    for c, first, last in zip(mixture.coefficients.tolist(), breaks[:-1], breaks[1:], strict=True):
        products = [row[first:last].float() * weight for row, weight in zip(rows, c, strict=True)]
        total = products[0]
        for product in products[1:]:
            total = total + product
        divisor = round(1 / mixture.factor)
        out[first:last] = total / divisor if 1 / divisor == mixture.factor else total * mixture.factor
    return out.to(dtype)


def stored(values):
    return list(_fused.bits_of(values.flatten()).reshape(values.shape))


def mixed(mixture, dtype, rows):
    out = torch.empty(rows.shape[1], dtype=rows.dtype)
    is_sound = _fused.mix(mixture, dtype, stored(rows), _fused.bits_of(out))
    return is_sound, out


def bits(values):
    return values.view(torch.uint8).numpy().tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("models", range(1, 6))
@pytest.mark.parametrize("length", [1, 7, 1023, 1024, 1025, 70_001])
@pytest.mark.parametrize("factor", [1.0, 1 / 3, 0.37])
def test_every_bit_is_that_of_torch(dtype, models, length, factor):
    rows = numbers(DTYPES[dtype], models, length, seed=length)
    generator = np.random.default_rng(length)
    breaks = np.unique([0, *generator.integers(0, length, 5), length])
    coefficients = generator.uniform(-1, 1, (len(breaks) - 1, models))
    coefficients[0, 0] = 0.0
    mixture = Mixture(breaks, coefficients, factor)
    is_sound, out = mixed(mixture, dtype, rows)
    assert is_sound
    assert bits(out) == bits(in_torch(mixture, rows, DTYPES[dtype]))


def test_bfloat16_is_rounded_to_nearest_with_ties_to_even():
    finite = torch.arange(0, 0x7F80, dtype=torch.int32)
    every = finite.to(torch.int16).view(torch.bfloat16)
    between = torch.cat([every, every[:-1]])[: len(every)], torch.cat([every[1:], every[-1:]])
    rows = torch.stack([torch.minimum(*between), torch.maximum(*between)])
    half = Mixture(np.array([0, len(every)]), np.array([[0.5, 0.5]]))  # just between two neighbours
    is_sound, out = mixed(half, "BF16", rows)
    assert is_sound
    assert bits(out) == bits(in_torch(half, rows, torch.bfloat16))
    assert (out.view(torch.int16)[:-1] % 2 == 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fault", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("at", [0, 1023, 1024, 2999])
def test_what_is_not_finite_is_noticed(dtype, fault, at):
    rows = torch.ones(3, 3000, dtype=DTYPES[dtype])
    mixture = Mixture(np.array([0, 1500, 3000]), np.array([[0.5, 0.25, 0.0], [0.0, 1.0, 0.1]]))
    assert mixed(mixture, dtype, rows)[0]
    for row in rows:
        row[at] = fault
        assert not mixed(mixture, dtype, rows)[0]  # a coefficient of 0 does not hide it
        row[at] = 1.0


def test_a_nan_with_all_bits_set_is_noticed():
    rows = torch.tensor([[-1]], dtype=torch.int32).view(torch.float32)
    one = Mixture(np.array([0, 1]), np.array([[1.0]]))
    assert not mixed(one, "F32", rows)[0]
    assert not mixed(one, "BF16", torch.tensor([[-1]], dtype=torch.int16).view(torch.bfloat16))[0]


def test_what_becomes_infinite_is_noticed():
    both, half, hardly = (Mixture(np.array([0, 5]), np.array([[0.5, c]])) for c in (1.0, 0.5, 0.503))
    for name, dtype in DTYPES.items():
        rows = torch.full((2, 5), torch.finfo(dtype).max, dtype=dtype)
        assert not mixed(both, name, rows)[0]
        assert mixed(half, name, rows)[0]
    rows = torch.full((2, 5), torch.finfo(torch.bfloat16).max, dtype=torch.bfloat16)
    assert in_torch(hardly, rows, torch.float32).isfinite().all()  # until it is rounded
    assert not mixed(hardly, "BF16", rows)[0]


def model(seed, dtype, **more):
    def values(index, *shape):
        generator = torch.Generator().manual_seed(10 * seed + index)
        return torch.randn(shape, generator=generator).to(dtype)

    tensors = {"0.weight": values(0, 64, 129), "0.bias": values(1, 64), "1.weight": values(2, 1, 64)}
    return Checkpoint.from_tensors({**tensors, **more})


METHODS = {
    "linear": {"weight": [0.3, 0.123456]},
    "task_arithmetic": {"lambda": 0.7},
    "passthrough": {"scale": 1.7},
    "slerp": {"t": 0.37},
    "karcher": {},
    "model_stock": {},
}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float16, torch.float64])
@pytest.mark.parametrize("method", METHODS)
def test_merges_are_the_same_with_and_without(tmp_path, without, method, dtype):
    models = [model(k, dtype) for k in range(1 if method == "passthrough" else 2)]
    base = model(7, dtype) if method in ("task_arithmetic", "model_stock") else None
    options = {"method": method, "base": base, **METHODS[method]}
    expected = without(lambda: merge(models, **options)).digest
    assert merge(models, **options).digest == expected
    assert merge(models, out=tmp_path / "out", workers=2, **options).digest == expected


def test_models_of_different_types_are_the_same_with_and_without(without):
    models = [model(0, torch.bfloat16), model(1, torch.float32)]
    assert merge(models, method="linear").digest == without(lambda: merge(models, method="linear")).digest


def combination(models, coefficients, breaks=()):
    size = models[0].layout.size
    return Combination(tuple(m.digest for m in models), [0, *breaks, size], coefficients)


@pytest.mark.parametrize("chunk", [1, 5000, 1 << 18])
def test_children_are_the_same_with_and_without(tmp_path, without, chunk):
    models = [model(k, torch.bfloat16) for k in range(3)]
    c = combination(models, [[0.5, 0.5, 0], [0.1, 0, -0.4], [0, 0, 0], [0.3, 0.2, 0.1]], [777, 8000, 8300])
    expected = without(lambda: materialise(c, models)).digest
    assert materialise(c, models).digest == expected
    assert materialise(c, models, out=tmp_path / "child").digest == expected
    in_blocks = Engine(plan_combination(c, models), Execution(2, chunk)).in_memory({})
    assert in_blocks.digest == expected


@pytest.mark.parametrize("method", ["linear", "slerp"])
def test_a_damaged_model_is_named(tmp_path, method):
    damaged = model(1, torch.bfloat16)
    damaged.read("0.weight").view(-1)[4100] = float("nan")
    with pytest.raises(CheckpointError, match=r"'0.weight' of .* NaN, at element 4,100"):
        merge([model(0, torch.bfloat16), damaged], method=method, out=tmp_path / "out")
    models = [model(0, torch.bfloat16), damaged]
    with pytest.raises(CheckpointError, match=r"NaN, at element 4,100"):
        materialise(combination(models, [[0.5, 0.5]]), models)


def test_sums_that_do_not_fit_are_refused():
    models = [model(0, torch.float32), model(1, torch.float32)]
    with pytest.raises(ValueError, match="do not fit float32"):
        merge(models, method="linear", weight=1e38, normalize=False)


@pytest.mark.parametrize("way", ["with", "without"])
def test_a_seed_without_a_share_is_not_read(without, way):
    models = [model(k, torch.bfloat16) for k in range(2)]
    models.append(model(2, torch.bfloat16, **{"1.weight": torch.full((1, 64), float("nan")).bfloat16()}))
    begin, _ = models[0].layout.spans()["1.weight"]
    run = without if way == "without" else lambda function: function()
    c = combination(models, [[0.2, 0.3, 0.5], [0.5, 0.5, 0.0]], [begin])
    plan = plan_combination(c, models)
    read = {target.spec.name: len(target.sources.sources) for target in plan.targets}
    assert read == {"0.weight": 3, "0.bias": 3, "1.weight": 2}
    child = run(lambda: materialise(c, models))
    pair = combination(models[:2], [[0.5, 0.5]])
    assert torch.equal(child.read("1.weight"), materialise(pair, models[:2]).read("1.weight"))


def test_without_numba_torch_computes(monkeypatch, without):
    monkeypatch.setitem(sys.modules, "merganser.merging._kernels", None)  # as if it could not be imported
    _fused._kernels.cache_clear()
    try:
        models = [model(k, torch.bfloat16) for k in range(2)]
        assert not _fused.is_worth_it(1 << 40)
        assert merge(models, method="linear").digest == without(lambda: merge(models, method="linear")).digest
    finally:
        _fused._kernels.cache_clear()
