"""Do these models fit together?

| names | what |
| --- | --- |
| [`geometry`][], [`Geometry`][], [`Part`][], [`COMPONENTS`][] | lengths, angles, signs, largest entries |
"""

from merganser.comparison._components import COMPONENTS
from merganser.comparison._geometry import Geometry, Part, geometry

__all__ = ["COMPONENTS", "Geometry", "Part", "geometry"]
