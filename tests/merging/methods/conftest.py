"""What tests of merge methods share: every method with every choice, models to merge, and the slow reference."""

from __future__ import annotations

import dataclasses
import importlib.util
from hashlib import blake2b
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import strategies as st

from merganser.merging import METHODS, Engine, Statistics, plan_merge
from merganser.merging._execute import MemorySink
from merganser.merging.methods import bind, parameters_of
from merganser.weights import DEFAULT_CHUNK, Checkpoint, Execution, fingerprint, single_threaded

SHAPES = [(), (0,), (1,), (7,), (0, 4), (4, 0), (1, 9), (9, 1), (1, 1), (3, 4), (2, 3, 2, 2)]
DYADIC = [1.0, 0.5, 0.25, 2.0, -1.0, 0.0, 0.75]
NUMBERS = {
    "weight": st.sampled_from(DYADIC),
    "lambda": st.sampled_from([1.0, 0.5, 1.5, -1.0, 0.0]),
    "scale": st.sampled_from(DYADIC),
    "t": st.sampled_from([0.0, 0.25, 0.5, 1.0]) | st.floats(0, 1),
    "density": st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0]) | st.floats(0, 1),
    "gamma": st.sampled_from([0.0, 0.01, 0.25, 1.0]) | st.floats(0, 1),
    "epsilon": st.sampled_from([0.0, 0.1, 0.25]),
    "eps": st.sampled_from([1e-8, 1e-3]),
    "max_iter": st.sampled_from([1, 2, 100]),
    "tol": st.sampled_from([1e-9, 1e-2]),
    "select_topk": st.sampled_from([0.0, 0.1, 0.5, 1.0]) | st.floats(0, 1),
    "r": st.sampled_from([0.0, 0.1, 1.0]),
    "alpha": st.sampled_from([0.0, 0.2, 5.0]),
    "lambda_orthogonal": st.sampled_from(DYADIC),
    "lambda_parallel": st.sampled_from(DYADIC),
    "common": st.sampled_from([0.0, 0.5, 0.8, 1.0]),
    "ridge": st.sampled_from([1e-3, 0.01, 1.0]),
    "cap": st.sampled_from([1.0, 1.5, 3.0, 100.0]),
    "floor": st.sampled_from([1e-6, 1e-2, 1.0]),
}
REQUIRED = {"nearswap": {"t": 0.125}}


class Case(NamedTuple):
    """A method, with or without a base, and one choice for each of its words and flags."""

    method: str
    has_base: bool
    choices: dict[str, Any]

    @property
    def parameters(self) -> dict[str, Any]:
        """The choices, and what has no default."""
        return {**REQUIRED.get(self.method, {}), **self.choices}

    def models(self, wanted: int) -> int:
        """The number of models nearest to this that the method takes."""
        least, most = METHODS[self.method].rule.models
        return max(least, min(wanted, most or wanted))

    def __str__(self) -> str:
        words = [f"{name}={value}" for name, value in self.choices.items()]
        return "-".join([self.method, *(["base"] if self.has_base else []), *words])


def _cases():
    for name, method in METHODS.items():
        options = {
            p.name: p.choices or (True, False) for p in parameters_of(method) if p.kind in ("word", "flag")
        }
        for has_base in {"required": [True], "refused": [False], "optional": [False, True]}[method.rule.base]:
            for picked in product(*options.values()):
                yield Case(name, has_base, dict(zip(options, picked, strict=True)))


CASES = list(_cases())


def pytest_configure(config):
    """A law is a mark, so that a test of it is a test of the methods that claim it."""
    config.addinivalue_line("markers", "law(name): with every case whose method claims this law")


def pytest_generate_tests(metafunc):
    """A test of a `case` is a test of every case, or of those under its law.

    A test of a `pass_case` leaves out choices that only change the formula, not what is measured before; one of a
    `plain_case` leaves out all choices.
    """
    law = next((mark.args[0] for mark in metafunc.definition.iter_markers("law")), None)
    kinds = {
        "case": [case for case in CASES if _is_under(law, case)],
        "pass_case": [case for case in CASES if case.choices.get("normalize", True)],
        "plain_case": {(c.method, c.has_base): Case(c.method, c.has_base, {}) for c in CASES}.values(),
    }
    for kind in sorted(kinds.keys() & set(metafunc.fixturenames)):
        metafunc.parametrize(kind, kinds[kind], ids=str)


def _is_under(law, case):
    if law == "fixed_base" and not case.has_base:
        return False
    if law == "idempotent" and not all(case.choices.get(n, True) for n in ("normalize", "normalize_weights")):
        return False  # sums grow
    return law is None or law in METHODS[case.method].rule.laws


def _run(method, models, base=None, *, chunk=DEFAULT_CHUNK, workers=1, seed=0, dtype=None, **parameters):
    opened = [_opened(model, f"model {i}") for i, model in enumerate(models, start=1)]
    origin = None if base is None else _opened(base, "the base")
    measured = _measured(method, opened, models, parameters)
    plan = plan_merge(
        opened, method, base=origin, dtype=dtype, seed=seed, parameters=parameters, statistics=measured
    )
    sink = MemorySink(plan.targets)
    Engine(plan, Execution(workers, chunk)).run(plan.targets, sink)
    return dict(sink.tensors)


def _measured(method, opened, models, parameters):
    """Statistics for a method that needs some, as if they had been measured; of equal models equal ones."""
    kind = METHODS[method].rule.statistics
    if kind is None:
        return ()
    looks = [fingerprint(checkpoint) for checkpoint in opened]
    prefix = None
    if kind == "merged_gram":
        bound = bind(method, METHODS[method], len(models), parameters)
        prefix = {"models": looks, "parameters": {name: getattr(bound, name) for name in ("alpha", "ridge")}}
    return [
        Statistics(kind, look, _opened(_numbers(kind, model), f"statistics {i}"), 1, 1, prefix=prefix)
        for i, (look, model) in enumerate(zip(looks, models, strict=True), start=1)
    ]


def _numbers(kind, model):
    """Made-up statistics of a model's tensors, keyed by what is in each."""
    drawn = {}
    for name, tensor in model.items():
        content = np.asarray(tensor.double().numpy()).tobytes()
        generator = np.random.default_rng([*blake2b(name.encode() + content, digest_size=16).digest()])
        if kind == "fisher":
            drawn[name] = torch.from_numpy(generator.gamma(0.5, size=tuple(tensor.shape)))
        elif tensor.ndim > 1 and tensor.numel():
            columns = tensor[0].numel()
            inputs = generator.standard_normal((columns + 2, columns))
            drawn[name] = torch.from_numpy(inputs.T @ inputs / len(inputs))
    return drawn


def _opened(model, name):
    return dataclasses.replace(Checkpoint.from_tensors(model, copy=False), source=name)


def _masks(method, models, base, *, seed=0, **parameters):
    """What a random method keeps, seen from outside: tensor by tensor, one mask for each model."""
    linear = {"dare_ties": "dare_linear", "della": "della_linear"}.get(method, method)
    shared = {name: parameters[name] for name in ("density", "epsilon") if name in parameters}
    masks = {name: [] for name in base}
    for i in range(len(models)):
        weight = [float(i == j) for j in range(len(models))]
        seen = _run(linear, models, base, seed=seed, weight=weight, rescale="none", **shared)
        for name, tensor in seen.items():
            masks[name].append(((tensor != base[name]) | (models[i][name] == base[name])).numpy())
    return masks


class Expectations:
    """The slow reference, called as the library is."""

    def __init__(self) -> None:
        self.module = _module("reference")
        self.rules = {
            **self.module.REFERENCES,
            **_module("_literal_subspace").REFERENCES,
            **_module("_literal_statistics").REFERENCES,
            "neuromerging": _module("_literal_neuro").neuromerging,
        }

    def __call__(self, method, models, base=None, *, seed=0, **parameters):
        """The merged model in float64; parameters that are not given have their defaults."""
        count = len(models)
        bound = bind(method, METHODS[method], count, parameters)
        full = {p.name: getattr(bound, _field(bound, p.name)) for p in parameters_of(METHODS[method])}
        if method.startswith(("dare", "della")):
            full["masks"] = _masks(method, models, base, seed=seed, **full)
        if "lambda" in full:
            full["lambda_"] = full.pop("lambda")
        if "max_iter" in full:
            full["max_iter"] = int(full["max_iter"])
        if METHODS[method].rule.statistics is not None:
            kind = METHODS[method].rule.statistics
            full["statistics"] = [_doubled(_numbers(kind, model)) for model in models]
        doubled = [_doubled(model) for model in models]
        return self.rules[method](doubled, None if base is None else _doubled(base), **full)


def _module(name):
    """A module beside this one, which stands in no package."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _field(bound, name):
    return next(field for field in (name, f"{name}_") if field in vars(bound))


def _doubled(model):
    return {name: tensor.double().numpy() for name, tensor in model.items()}


def _draw_models(draw, case):
    """Some models, and their base if the case has one.

    Their numbers are normal, in double precision, or few-bit ones as bfloat16 models differ by: many of them equal,
    or zero, and their sums exact in any precision.
    """
    shapes = draw(st.lists(_SHAPE, min_size=1, max_size=3))
    count = case.models(draw(st.integers(1, 4)))
    kind, dtype = draw(st.sampled_from([("normal", torch.float64), ("few bits", torch.float32)]))
    if case.method in {"dare_ties", "della", "della_linear"}:  # what they scale by has many bits itself
        kind, dtype = "normal", torch.float64
    if case.method == "neuromerging":  # directions of equal length are not unique
        kind, dtype = "normal", torch.float64
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))

    def numbers(shape):
        if kind == "normal":
            return torch.from_numpy(np.array(generator.standard_normal(shape))).to(dtype)
        return torch.from_numpy(np.array(generator.integers(-4, 5, shape) / 8)).to(dtype)

    named = {f"t{i}": shape for i, shape in enumerate(shapes)}
    drawn = [{name: numbers(shape) for name, shape in named.items()} for _ in range(count + 1)]
    base = drawn.pop() if case.has_base else None
    return drawn[:count], base


_SHAPE = st.one_of(
    st.sampled_from(SHAPES),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.sampled_from([(4096,), (4097,), (3, 1500), (2, 4096), (3, 5, 7, 2)]),
)


def _draw_numbers(draw, case, models):
    """Values for all of the case's parameters that are numbers."""
    drawn = {}
    for p in parameters_of(METHODS[case.method]):
        if p.kind in ("number", "numbers"):
            inside = NUMBERS[p.name].filter(
                lambda x, p=p: (p.low is None or x >= p.low) and (p.high is None or x <= p.high)
            )
            many = st.lists(inside, min_size=models, max_size=models)
            drawn[p.name] = draw(inside | many if p.kind == "numbers" else inside)
    return drawn


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """References convert and compare whole tensors: on a shared machine torch's threads would wait for each other."""
    with single_threaded():
        yield


@pytest.fixture(scope="session")
def run():
    """Merges dictionaries of tensors, in memory, however asked for."""
    return _run


@pytest.fixture(scope="session")
def masks():
    """What a random method keeps of each model, as seen from outside."""
    return _masks


@pytest.fixture(scope="session")
def expected():
    """Merges them by the slow reference."""
    return Expectations()


@pytest.fixture(scope="session")
def draw_models():
    """Draws models that fit a case."""
    return _draw_models


@pytest.fixture(scope="session")
def draw_numbers():
    """Draws numbers for a case's parameters."""
    return _draw_numbers


@pytest.fixture(scope="session")
def shapes():
    """Shapes at the edge of what there is."""
    return SHAPES
