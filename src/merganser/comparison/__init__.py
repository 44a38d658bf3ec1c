"""Do these models fit together?

| names | what |
| --- | --- |
| [`parentage`][], [`Parentage`][], [`Kin`][], [`Kinship`][] | who is related to whom; which one is the base |
| [`THRESHOLDS`][], [`Threshold`][] | what verdicts turn on, and what that rests on |
| [`geometry`][], [`Geometry`][], [`Part`][], [`COMPONENTS`][] | lengths, angles, signs, largest entries |
"""

from merganser.comparison._components import COMPONENTS
from merganser.comparison._geometry import Geometry, Part, geometry
from merganser.comparison._parentage import Kin, Kinship, Parentage, parentage
from merganser.comparison._thresholds import THRESHOLDS, Threshold

__all__ = [
    "COMPONENTS",
    "THRESHOLDS",
    "Geometry",
    "Kin",
    "Kinship",
    "Parentage",
    "Part",
    "Threshold",
    "geometry",
    "parentage",
]
