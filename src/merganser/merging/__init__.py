"""Combining checkpoints: recipes as values, and what they become.

| names | what |
| --- | --- |
| [`Combination`][], [`blend`][] | a descendant as exact coefficients over the seeds |
| [`Gram`][] | inner products and angles of descendants from prefix sums over the seeds |
| [`crossover`][], [`slerp_weights`][], [`linear_weights`][] | two parents, one child |
| [`combine_flat`][], [`materialise`][], [`checkpoint_of`][] | from a recipe to weights |
| [`read_recipe`][], [`write_recipe`][] | recipes as JSON files |
"""

from merganser.merging._combination import Combination, blend
from merganser.merging._crossover import Angles, Rule, crossover, linear_weights, slerp_weights
from merganser.merging._gram import Gram
from merganser.merging._materialise import checkpoint_of, combine_flat, materialise
from merganser.merging._recipe import read_recipe, write_recipe

__all__ = [
    "Angles",
    "Combination",
    "Gram",
    "Rule",
    "blend",
    "checkpoint_of",
    "combine_flat",
    "crossover",
    "linear_weights",
    "materialise",
    "read_recipe",
    "slerp_weights",
    "write_recipe",
]
