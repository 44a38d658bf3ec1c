"""What tests of mergekit's formulas share: what mergekit gave, and a way to call a method on single tensors."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file

from merganser.merging.methods import Noise, Part, bind
from merganser.merging.methods.mergekit import MERGEKIT

GOLDENS = Path(__file__).with_name("goldens")


class Goldens(NamedTuple):
    """What `scripts/mergekit_goldens.py` made."""

    cases: list[dict[str, Any]]
    tensors: dict[str, torch.Tensor]
    signatures: dict[str, dict[str, Any]]

    def inputs(self, case):
        """The base and the models of a case."""
        return [self.tensors[f"input/{case['kind']}/{i}"] for i in range(case["models"] + 1)]


@pytest.fixture(scope="session")
def goldens():
    return Goldens(
        json.loads((GOLDENS / "cases.json").read_text()),
        load_file(GOLDENS / "tensors.safetensors"),
        json.loads((GOLDENS / "signatures.json").read_text()),
    )


@pytest.fixture(scope="session")
def merge_tensor():
    return _merge_tensor


@pytest.fixture(scope="session")
def given_masks():
    return GivenMasks


@pytest.fixture(scope="session")
def tensor_scan():
    return TensorScan


class GivenMasks(Noise):
    """Keeps what it is told to keep: where models were thinned out by somebody else's random numbers."""

    def __init__(self, masks):
        super().__init__(0, "w")
        self._masks = masks

    def keep(self, model, begin, chance, like):
        return self._masks[model][begin : begin + len(like)].to(like)


class TensorScan:
    """Passes over one tensor, in parts of a given length, or of the whole rows nearest to it."""

    def __init__(self, models, base=None, *, length, is_delta=False, whole_rows=False, noise=None):
        self.models, self.has_base, self.numel = len(models), base is not None, models[0].numel()
        self._tensors, self._base, self._is_delta, self._noise = (
            models,
            base,
            is_delta,
            noise or Noise(0, "w"),
        )
        self._columns = models[0].shape[-1] if models[0].ndim else 1
        self._length = -(-length // self._columns) * self._columns if whole_rows else length

    def __call__(self, measure, *, stride=1):
        for part in self.parts(stride):
            yield measure(part)

    def parts(self, stride=1):
        for begin in range(0, self.numel, self._length * stride):
            here = slice(begin, begin + self._length)
            values = torch.stack([tensor.reshape(-1)[here] for tensor in self._tensors])
            base = None if self._base is None else self._base.reshape(-1)[here].clone()
            if base is not None and self._is_delta:
                values -= base
            yield Part(values, base, begin, self._columns, self._noise, "w")


def _merge_tensor(name, models, base, parameters, *, noise=None, length=16):
    """The merged tensor, by the two functions of a method."""
    method = bind(name, MERGEKIT[name], len(models), parameters)
    is_delta = base is not None and method.rule.space == "deltas"
    scan = TensorScan(
        models, base, length=length, is_delta=is_delta, whole_rows=method.whole_rows, noise=noise
    )
    stats = method.prepare(scan) if method.scope == "tensor" else None
    merged = []
    for part in scan.parts():
        combined = method.combine(part, stats)
        merged.append(
            combined + part.base if base is not None and method.rule.space == "deltas" else combined
        )
    return torch.cat(merged).reshape(models[0].shape)
