"""Do these models fit together?

In weight space, without data:

| names | what |
| --- | --- |
| [`compare`][], [`Comparison`][], [`Pair`][], [`Group`][] | models side by side |
| [`judge`][], [`Verdict`][], [`Evidence`][], [`TaskVectors`][] | what to do with two of them, and why |
| [`THRESHOLDS`][], [`Threshold`][] | what verdicts turn on, and what that rests on |
| [`differences_between`][], [`Differences`][], [`Difference`][], [`TokenOverlap`][] | architecture and tokens |
| [`geometry`][], [`Geometry`][], [`Part`][], [`COMPONENTS`][] | lengths, angles, signs, largest entries |
| [`component_of`][] | whether a tensor attends, computes in between, embeds, … |
| [`parentage`][], [`Parentage`][], [`Kin`][], [`Kinship`][] | who is related to whom; which one is the base |
| [`spectra`][], [`Spectrum`][], [`spectra_by_layer`][], [`LayerSpectra`][] | singular values and directions |
| [`barrier`][], [`Barrier`][] | what is lost on the line between two models |
| [`stop_specialising`][], [`Series`][], [`Step`][], [`read_series`][] | two models trained apart, step by step |
| [`may_be_best`][] | which steps the samples cannot tell from the best |

On data, at all layers of all models in one pass:

| names | what |
| --- | --- |
| [`relate`][], [`Relations`][], [`Site`][] | what is kept of a batch: how its rows relate, at each site |
| [`compare_features`][], [`Compared`][] | models on the same texts or batches, each run once |
| [`View`][], [`Reduce`][] | which layers, what becomes of tokens, rows of a batch, neighbours |
| [`features`][], [`Features`][] | rows of features of a model's layers |
| [`Imprint`][] | what is kept of a model on given data, instead of running it again |
| [`Representations`][], [`Depth`][] | of two models: CKA at the same depth, neighbours, chance, caveats |
| [`read_data`][], [`data_of`][], [`view_for`][], [`Data`][] | texts or arrays, and a view that suits them |
| [`SimilaritySums`][] | adds batches up, and shards of the data |
| [`ProcrustesSums`][] | adds up orthogonal Procrustes distances, after a random projection |
| [`Similarity`][], [`Estimate`][], [`Spread`][], [`Measure`][] | values, intervals, what chance gives, caveats |

Long work tells a `watch` how far it is ([`Watch`][]), in [`Tick`][]s.

| measure | what it says |
| --- | --- |
| `cka` | alignment of all pairwise relations (unbiased); large directions count most |
| `cknna` | the same, at nearest neighbours only |
| `mutual_knn` | share of nearest neighbours in common |
"""

from merganser.comparison._barrier import Barrier, barrier
from merganser.comparison._best_steps import may_be_best
from merganser.comparison._compare import Comparison, Group, Pair, compare
from merganser.comparison._compare_features import Compared, compare_features
from merganser.comparison._components import COMPONENTS, component_of
from merganser.comparison._data import Data, data_of, read_data, view_for
from merganser.comparison._differences import Difference, Differences, TokenOverlap, differences_between
from merganser.comparison._features import Features, features
from merganser.comparison._geometry import Geometry, Part, geometry
from merganser.comparison._imprint import Imprint
from merganser.comparison._parentage import Kin, Kinship, Parentage, parentage
from merganser.comparison._procrustes import ProcrustesSums
from merganser.comparison._read_series import read_series
from merganser.comparison._relations import Measure, Relations, Site, relate
from merganser.comparison._representations import Depth, Representations
from merganser.comparison._series import Series, Step, stop_specialising
from merganser.comparison._similarity import Estimate, Similarity, Spread
from merganser.comparison._spectra import LayerSpectra, Spectrum, spectra, spectra_by_layer
from merganser.comparison._sums import SimilaritySums
from merganser.comparison._thresholds import THRESHOLDS, Threshold
from merganser.comparison._tick import Tick, Watch
from merganser.comparison._verdict import Evidence, TaskVectors, Verdict, judge
from merganser.comparison._view import Reduce, View

__all__ = [
    "COMPONENTS",
    "THRESHOLDS",
    "Barrier",
    "Compared",
    "Comparison",
    "Data",
    "Depth",
    "Difference",
    "Differences",
    "Estimate",
    "Evidence",
    "Features",
    "Geometry",
    "Group",
    "Imprint",
    "Kin",
    "Kinship",
    "LayerSpectra",
    "Measure",
    "Pair",
    "Parentage",
    "Part",
    "ProcrustesSums",
    "Reduce",
    "Relations",
    "Representations",
    "Series",
    "Similarity",
    "SimilaritySums",
    "Site",
    "Spectrum",
    "Spread",
    "Step",
    "TaskVectors",
    "Threshold",
    "Tick",
    "TokenOverlap",
    "Verdict",
    "View",
    "Watch",
    "barrier",
    "compare",
    "compare_features",
    "component_of",
    "data_of",
    "differences_between",
    "features",
    "geometry",
    "judge",
    "may_be_best",
    "parentage",
    "read_data",
    "read_series",
    "relate",
    "spectra",
    "spectra_by_layer",
    "stop_specialising",
    "view_for",
]
