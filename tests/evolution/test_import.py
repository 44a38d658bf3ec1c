"""Evolution is arithmetic: importing it loads no network library, and searching needs none."""

import subprocess
import sys

PROGRAM = """
import sys
import numpy as np
from merganser.evolution import CombinationSpace, DenseSpace, NaturalNiches, Row
import merganser.evolution
for space in (CombinationSpace("ab", np.eye(2)), DenseSpace(0, 5)):
    state = NaturalNiches.start(space, np.ones(3), seed=0)
    for _ in range(5):
        state, p = state.ask()
        state = state.tell(p, [Row(np.ones(3))])
print(sorted(m for m in ("torch", "cma", "sklearn", "safetensors") if m in sys.modules))
print(all(hasattr(merganser.evolution, name) for name in merganser.evolution.__all__))
"""


def test_searching_loads_neither_torch_nor_an_engine_that_is_not_used():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "True"]
