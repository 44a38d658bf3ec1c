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
