"""Do these models fit together?

| names | what |
| --- | --- |
| [`compare`][], [`Comparison`][], [`Pair`][], [`Group`][] | models side by side |
| [`judge`][], [`Verdict`][], [`Evidence`][], [`TaskVectors`][] | what to do with two of them, and why |
| [`THRESHOLDS`][], [`Threshold`][] | what verdicts turn on, and what that rests on |
| [`differences_between`][], [`Differences`][], [`Difference`][], [`TokenOverlap`][] | architecture and tokens |
| [`geometry`][], [`Geometry`][], [`Part`][], [`COMPONENTS`][] | lengths, angles, signs, largest entries |
| [`parentage`][], [`Parentage`][], [`Kin`][], [`Kinship`][] | who is related to whom; which one is the base |
| [`spectra`][], [`Spectrum`][], [`spectra_by_layer`][], [`LayerSpectra`][] | singular values and directions |
| [`barrier`][], [`Barrier`][] | what is lost on the line between two models |
"""

from merganser.comparison._barrier import Barrier, barrier
from merganser.comparison._compare import Comparison, Group, Pair, compare
from merganser.comparison._components import COMPONENTS
from merganser.comparison._differences import Difference, Differences, TokenOverlap, differences_between
from merganser.comparison._geometry import Geometry, Part, geometry
from merganser.comparison._parentage import Kin, Kinship, Parentage, parentage
from merganser.comparison._spectra import LayerSpectra, Spectrum, spectra, spectra_by_layer
from merganser.comparison._thresholds import THRESHOLDS, Threshold
from merganser.comparison._verdict import Evidence, TaskVectors, Verdict, judge

__all__ = [
    "COMPONENTS",
    "THRESHOLDS",
    "Barrier",
    "Comparison",
    "Difference",
    "Differences",
    "Evidence",
    "Geometry",
    "Group",
    "Kin",
    "Kinship",
    "LayerSpectra",
    "Pair",
    "Parentage",
    "Part",
    "Spectrum",
    "TaskVectors",
    "Threshold",
    "TokenOverlap",
    "Verdict",
    "barrier",
    "compare",
    "differences_between",
    "geometry",
    "judge",
    "parentage",
    "spectra",
    "spectra_by_layer",
]
