"""mergekit's own formulas, for numbers equal to those of mergekit 0.1.5 with `dtype: float32`.

| module | methods |
| --- | --- |
| `_renamed` | linear, passthrough, ram, ramplus_tl: the same as ours |
| `_arcs` | slerp, nuslerp |
| `_spheres` | multislerp, karcher, model_stock |
| `_task_vectors` | task_arithmetic, ties, dare_*, breadcrumbs*, della* |
| `_sce`, `_toward_one` | sce; nearswap, arcee_fusion |

Names, defaults, floors and thresholds are mergekit's; sums and angles are taken in float64, as everywhere here, and
agree with its float32 ones to rounding. Its choices among equal entries, its random samples and its random masks
cannot be reproduced; each module says what is done instead. Where linear, karcher and passthrough have a base in
mergekit, that is one more model, and here it is among the models.
"""

from merganser.merging.methods.mergekit._signature import Signature
from merganser.merging.methods.mergekit._table import MERGEKIT, SIGNATURES
from merganser.merging.methods.mergekit._translate import (
    Exported,
    our_name,
    to_mergekit,
    translate,
    with_defaults,
)

__all__ = [
    "MERGEKIT",
    "SIGNATURES",
    "Exported",
    "Signature",
    "our_name",
    "to_mergekit",
    "translate",
    "with_defaults",
]
