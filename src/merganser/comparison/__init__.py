"""Do models represent things alike? Similarity of features at all layers of all models, in one pass.

| names | what |
| --- | --- |
| [`relate`][], [`Relations`][], [`Site`][] | what is kept of a batch: how its rows relate, at each site |
| [`compare_features`][], [`Compared`][] | models on the same texts or batches, each run once |
| [`View`][], [`Reduce`][] | which layers, what becomes of tokens, rows of a batch, neighbours |
| [`features`][], [`Features`][] | rows of features of a model's layers |
| [`Imprint`][] | what is kept of a model on given data, instead of running it again |
| [`SimilaritySums`][] | adds batches up, and shards of the data |
| [`ProcrustesSums`][] | adds up orthogonal Procrustes distances, after a random projection |
| [`Similarity`][], [`Estimate`][], [`Spread`][], [`Measure`][] | values, intervals, what chance gives, caveats |

| measure | what it says |
| --- | --- |
| `cka` | alignment of all pairwise relations (unbiased); large directions count most |
| `cknna` | the same, at nearest neighbours only |
| `mutual_knn` | share of nearest neighbours in common |
"""

from merganser.comparison._compare import Compared, compare_features
from merganser.comparison._features import Features, features
from merganser.comparison._imprint import Imprint
from merganser.comparison._procrustes import ProcrustesSums
from merganser.comparison._relations import Measure, Relations, Site, relate
from merganser.comparison._similarity import Estimate, Similarity, Spread
from merganser.comparison._sums import SimilaritySums
from merganser.comparison._view import Reduce, View

__all__ = [
    "Compared",
    "Estimate",
    "Features",
    "Imprint",
    "Measure",
    "ProcrustesSums",
    "Reduce",
    "Relations",
    "Similarity",
    "SimilaritySums",
    "Site",
    "Spread",
    "View",
    "compare_features",
    "features",
    "relate",
]
