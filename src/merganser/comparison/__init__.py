"""Do models represent things alike? Similarity of features at all layers of all models, in one pass.

| names | what |
| --- | --- |
| [`relate`][], [`Relations`][], [`Site`][] | what is kept of one batch: how its rows relate, at each layer of each model |
| [`SimilaritySums`][] | adds batches up, and shards of the data |
| [`Similarity`][], [`Estimate`][], [`Spread`][], [`Measure`][] | values, intervals, what chance gives, caveats |

| measure | what it says |
| --- | --- |
| `cka` | alignment of all pairwise relations (unbiased); large directions count most |
| `cknna` | the same, at nearest neighbours only |
| `mutual_knn` | share of nearest neighbours in common |
"""

from merganser.comparison._relations import Measure, Relations, Site, relate
from merganser.comparison._similarity import Estimate, Similarity, Spread
from merganser.comparison._sums import SimilaritySums

__all__ = [
    "Estimate",
    "Measure",
    "Relations",
    "Similarity",
    "SimilaritySums",
    "Site",
    "Spread",
    "relate",
]
