"""Shapes are types: whole runs with every annotated shape checked at run time by beartype."""

import subprocess
import sys

CHECKED = """
import sys
from jaxtyping import install_import_hook
rooms = [f"merganser.{r}" for r in ("merging", "models", "evaluation", "evolution", "run")]
with install_import_hook(rooms, "beartype.beartype"):
    from merganser.run import evolve
task, folder, *asked = sys.argv[1:]
for each in asked:
    start, _, method = each.partition(":")
    print(each)  # the last one said is the one that failed
    search = {"method": method, "population": 5, "steps": 40}
    outcome = evolve(start, task, search=search, budget=60, run=f"{folder}/{start}-{method}")
    assert outcome.finished and not outcome.failures, outcome
"""
ASKED = [f"scratch:{method}" for method in ("natural-niches", "cma-es", "random")]
ASKED += [f"specialists:{method}" for method in ("natural-niches", "map-elites", "cma-es", "brute-force")]


def test_runs_keep_every_shape_they_declare(tmp_path, small_npz):
    command = [sys.executable, "-c", CHECKED, str(small_npz), str(tmp_path), *ASKED]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert done.stdout.split() == ASKED


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
