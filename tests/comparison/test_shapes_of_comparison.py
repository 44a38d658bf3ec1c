"""Shapes are types: a whole comparison with every annotated shape checked at run time by beartype."""

import subprocess
import sys

CHECKED = """
import typing, beartype, torch, merganser.evaluation, merganser.models
from jaxtyping import install_import_hook
typing.TYPE_CHECKING = True  # so that the names which only our annotations use are there
with install_import_hook("merganser.comparison", "beartype.beartype"):
    from merganser.comparison import compare
typing.TYPE_CHECKING = False
draws = torch.randn(4, 70, 90, generator=torch.Generator().manual_seed(0))
tuned = [draws[0] + draws[i] / 9 for i in (1, 2)]
base, one, two, far = ({"layers.0.w": tensor} for tensor in (draws[0], *tuned, draws[3]))
found = compare([one, two, far], base, with_spectra=True)
assert found.to_json()["spectra"] and [pair.verdict.action for pair in found.pairs][0] == "route"
assert [pair.verdict.action for pair in compare([one, far]).pairs] == ["align first"]
"""


def test_a_comparison_keeps_every_shape_it_declares():
    done = subprocess.run([sys.executable, "-c", CHECKED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
