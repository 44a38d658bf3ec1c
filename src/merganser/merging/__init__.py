"""Combining checkpoints: recipes as values, and what they become.

| names | what |
| --- | --- |
| [`Combination`][], [`blend`][] | a descendant as exact coefficients over the seeds |
| [`Gram`][] | inner products and angles of descendants from prefix sums over the seeds |
| [`crossover`][], [`slerp_weights`][], [`linear_weights`][] | two parents, one child |
| [`combine_flat`][], [`materialise`][], [`checkpoint_of`][] | from a combination to weights |
| [`read_recipe`][], [`write_recipe`][] | combinations as JSON files |
| [`METHODS`][], [`MergeMethod`][], [`parameters_of`][], [`Parameter`][], [`Part`][], [`Scan`][] | merging by rule |
| [`merge`][], [`open_models`][], [`Model`][], [`default_workers`][] | models in, a merged one out |
| [`plan_merge`][], [`MergePlan`][], [`Target`][], [`Engine`][], [`Progress`][], [`write_merge`][] | its parts |
| [`MergeRecipe`][], [`Ingredient`][], [`recipe_of`][], [`RECIPE_NAME`][] | what was done, as a file |
| [`verify`][], [`Verification`][] | do it again and compare |
"""

from merganser.merging._combination import Combination, blend
from merganser.merging._crossover import Angles, Rule, crossover, linear_weights, slerp_weights
from merganser.merging._execute import Engine, Progress
from merganser.merging._gram import Gram
from merganser.merging._materialise import checkpoint_of, combine_flat, materialise
from merganser.merging._merge import Model, default_workers, merge, open_models, recipe_of, write_merge
from merganser.merging._merge_recipe import RECIPE_NAME, Ingredient, MergeRecipe
from merganser.merging._plan import MergePlan, Target, plan_merge
from merganser.merging._recipe import read_recipe, write_recipe
from merganser.merging._verify import Verification, verify
from merganser.merging.methods import METHODS, MergeMethod, Parameter, Part, Scan, parameters_of

__all__ = [
    "METHODS",
    "RECIPE_NAME",
    "Angles",
    "Combination",
    "Engine",
    "Gram",
    "Ingredient",
    "MergeMethod",
    "MergePlan",
    "MergeRecipe",
    "Model",
    "Parameter",
    "Part",
    "Progress",
    "Rule",
    "Scan",
    "Target",
    "Verification",
    "blend",
    "checkpoint_of",
    "combine_flat",
    "crossover",
    "default_workers",
    "linear_weights",
    "materialise",
    "merge",
    "open_models",
    "parameters_of",
    "plan_merge",
    "read_recipe",
    "recipe_of",
    "slerp_weights",
    "verify",
    "write_merge",
    "write_recipe",
]
