"""Shapes are types: whole runs with every annotated shape checked at run time by beartype."""

import subprocess
import sys

import pytest

CHECKED = """
import sys
from jaxtyping import install_import_hook
rooms = [f"merganser.{r}" for r in ("merging", "models", "evaluation", "evolution", "run")]
with install_import_hook(rooms, "beartype.beartype"):
    from merganser.run import evolve
start, task, method, run = sys.argv[1:]
outcome = evolve(start, task, search={"method": method, "population": 5, "steps": 40}, budget=60, run=run)
assert outcome.finished and not outcome.failures, outcome
"""


@pytest.mark.parametrize(
    ("start", "method"),
    [
        ("scratch", "natural-niches"),
        ("scratch", "cma-es"),
        ("scratch", "random"),
        ("specialists", "natural-niches"),
        ("specialists", "map-elites"),
        ("specialists", "cma-es"),
        ("specialists", "brute-force"),
    ],
)
def test_a_run_keeps_every_shape_it_declares(tmp_path, small_npz, start, method):
    command = [sys.executable, "-c", CHECKED, start, str(small_npz), method, str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


MERGED = """
import typing, beartype, numpy, torch, merganser
from jaxtyping import install_import_hook
typing.TYPE_CHECKING = True  # so that the names which only our annotations use are there
with install_import_hook(["merganser.merging", "merganser.weights._stream"], "beartype.beartype"):
    from merganser.merging import METHODS, Statistics, merge
    from merganser.weights import Checkpoint, fingerprint
typing.TYPE_CHECKING = False
generator = torch.Generator().manual_seed(0)
base, *models = ({n: torch.randn(s, generator=generator) for n, s in (("w", (70, 90)), ("b", (5,)))} for _ in range(4))
asked = {"nearswap": [{"t": 0.1}], "nuslerp": [{}, {"along": "rows"}], "model_stock": [{}, {"along": "rows"}],
         "della": [{}, {"rescale": "l1"}], "sce": [{}, {"select_topk": 0.5}], "ties": [{}, {"scope": "tensor"}]}
held = [Checkpoint.from_tensors(model) for model in models]
looks = [fingerprint(each) for each in held]
numbers = {"gram": {"w": torch.eye(90)}, "merged_gram": {"w": torch.eye(90)}, "fisher": {"w": torch.ones(70, 90)}}
walk = {"merged_gram": {"models": looks, "parameters": {"alpha": 0.9, "ridge": 1e-6}}}
for name, method in METHODS.items():
    kind = method.rule.statistics
    measured = [] if kind is None else [
        Statistics(kind, look, Checkpoint.from_tensors(numbers[kind]), 1, 1, frozenset(), walk.get(kind))
        for look in looks]
    for parameters in asked.get(name, [{}]):
        for start in ([None], [base], [None, base])[("refused", "required", "optional").index(method.rule.base)]:
            merged = merge(models[: method.rule.models[1]], name, base=start, workers=2, statistics=measured,
                           **parameters)
            assert merged.read("w").shape == (70, 90)
"""


def test_every_merge_method_keeps_every_shape_it_declares():
    done = subprocess.run([sys.executable, "-c", MERGED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
