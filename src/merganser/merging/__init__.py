"""Combining checkpoints: recipes as values, and what they become.

| names | what |
| --- | --- |
| [`Combination`][], [`blend`][] | a descendant as exact coefficients over the seeds |
| [`Gram`][] | inner products and angles of descendants from prefix sums over the seeds |
| [`crossover`][], [`slerp_weights`][], [`linear_weights`][] | two parents, one child |
| [`Rule`][], [`Angles`][] | on an arc or a line, and between which vectors the arc is |
| [`Chromosomes`][], [`crossover_apart`][] | the same, split independently in groups of tensors |
| [`combine_flat`][], [`plan_combination`][], [`checkpoint_of`][] | from a combination to weights |
| [`METHODS`][], [`method_named`][], [`parameters_of`][], [`Parameter`][], [`bind`][] | merging by rule |
| [`unknown_parameter`][] | what to say of a parameter that a method does not have |
| [`MergeMethod`][], [`Part`][], [`Scan`][] | what a rule is |
| [`Blueprint`][], [`Module`][], [`Slice`][], [`Source`][] | a merge with structure: slices, gradients, filters |
| [`Setting`][], [`Case`][], [`Settings`][], [`Dialect`][], [`Formulas`][] | its parameters, names and formulas |
| [`merge`][], [`Model`][] | models in, a merged one out |
| [`open_models`][], [`vocabulary_rules`][], [`VocabularyRules`][], [`default_workers`][] | its arguments |
| [`plan_merge`][], [`plan_blueprint`][], [`methods_of`][], [`SliceError`][] | from a blueprint to a plan |
| [`Statistics`][], [`open_statistics`][], [`save_statistics`][] | what was measured of a model with data, as a file |
| [`StatisticsKind`][], [`StatisticsLike`][], [`opened_statistics`][] | what may be measured, and given in its place |
| [`regression_mean`][] | one layer for several, by least squares on their inputs |
| [`MergePlan`][], [`Target`][] | what will be done |
| [`Engine`][], [`Progress`][], [`write_merge`][] | doing it |
| [`merged_config`][], [`write_companions`][] | what lies beside the weights |
| [`identity_of`][] | what a result depends on |
| [`SHARD_BYTES`][] | the usual size of a file |
| [`MergeRecipe`][], [`Ingredient`][], [`recipe_of`][] | what was done, completely |
| [`Recipe`][], [`read_recipe`][], [`read_combination`][], [`write_recipe`][], [`RECIPE_NAME`][] | recipes as files |
| [`core_space`][], [`CoreSpace`][], [`merge_adapters`][], [`Adapter`][] | adapters, in the few directions they use |
| [`Space`][], [`WantedSpace`][], [`MergedCores`][], [`Truncation`][], [`share_lost`][] | merging them there, by rule |
| [`lengths_beside_base`][], [`FAR`][] | whether a base looks like the models' ancestor |
| [`is_inputs_first`][] | which way round a matrix is stored |
| [`Tokenizer`][], [`tokenizer_of`][] | a model's tokenizer, as its files say |
| [`explain`][], [`Explanation`][], [`Fate`][], [`Fates`][], [`Shares`][] | what became of every task vector |
| [`citations`][], [`references`][], [`sources_of`][] | BibTeX of what was used |
| [`LayerPath`][], [`Hop`][], [`Fold`][], [`Scaling`][] | a model as a way through the blocks of others |
| [`plan_path`][], [`path_blueprint`][], [`path_config`][], [`PATH_FAMILIES`][] | as a merge |
| [`check_parents`][], [`seeds_of`][], [`path_stack`][] | the models that it goes through |
| [`PathLayout`][], [`Scales`][], [`ScaleMatrix`][], [`ScaleNetwork`][] | numbers as paths |
| [`read_evomistral`][] | released models that are paths |
| [`materialise`][], [`plan_recipe`][], [`verify`][], [`Verification`][] | from a recipe back to the model |
"""

from merganser.merging._adapters import WantedSpace
from merganser.merging._ancestry import FAR, lengths_beside_base
from merganser.merging._blueprint import Blueprint, Dialect, Formulas, Module, Slice, Source, Space
from merganser.merging._chromosomes import Chromosomes, crossover_apart
from merganser.merging._citations import citations, references, sources_of
from merganser.merging._combination import Combination, blend
from merganser.merging._combine import checkpoint_of, combine_flat, plan_combination
from merganser.merging._core_space import Adapter, CoreSpace, core_space, merge_adapters
from merganser.merging._cores import MergedCores, Truncation
from merganser.merging._crossover import Angles, Rule, crossover, linear_weights, slerp_weights
from merganser.merging._dialect import method_named, methods_of
from merganser.merging._evomistral import read_evomistral
from merganser.merging._execute import Engine, Progress
from merganser.merging._explain import Explanation, Fate, Fates, Shares, explain
from merganser.merging._facts import share_lost
from merganser.merging._gram import Gram
from merganser.merging._layer_path import Fold, Hop, LayerPath, Scaling
from merganser.merging._layout import is_inputs_first
from merganser.merging._merge import Model, merge, open_models, recipe_of, vocabulary_rules
from merganser.merging._merge_recipe import Ingredient, MergeRecipe
from merganser.merging._path_layout import PathLayout, ScaleMatrix, ScaleNetwork, Scales
from merganser.merging._path_plan import (
    PATH_FAMILIES,
    check_parents,
    path_blueprint,
    path_config,
    path_stack,
    plan_path,
    seeds_of,
)
from merganser.merging._plan import MergePlan, Target
from merganser.merging._planner import SliceError
from merganser.merging._planning import plan_blueprint, plan_merge
from merganser.merging._rebuild import Verification, materialise, plan_recipe, verify
from merganser.merging._recipe import RECIPE_NAME, Recipe, read_combination, read_recipe, write_recipe
from merganser.merging._settings import Case, Setting, Settings
from merganser.merging._statistics import (
    Statistics,
    StatisticsLike,
    open_statistics,
    opened_statistics,
    save_statistics,
)
from merganser.merging._write import (
    SHARD_BYTES,
    default_workers,
    identity_of,
    merged_config,
    write_companions,
    write_merge,
)
from merganser.merging.methods import (
    METHODS,
    MergeMethod,
    Parameter,
    Part,
    Scan,
    StatisticsKind,
    bind,
    parameters_of,
    regression_mean,
    unknown_parameter,
)
from merganser.merging.vocabulary import Tokenizer, VocabularyRules, tokenizer_of

__all__ = [
    "FAR",
    "METHODS",
    "PATH_FAMILIES",
    "RECIPE_NAME",
    "SHARD_BYTES",
    "Adapter",
    "Angles",
    "Blueprint",
    "Case",
    "Chromosomes",
    "Combination",
    "CoreSpace",
    "Dialect",
    "Engine",
    "Explanation",
    "Fate",
    "Fates",
    "Fold",
    "Formulas",
    "Gram",
    "Hop",
    "Ingredient",
    "LayerPath",
    "MergeMethod",
    "MergePlan",
    "MergeRecipe",
    "MergedCores",
    "Model",
    "Module",
    "Parameter",
    "Part",
    "PathLayout",
    "Progress",
    "Recipe",
    "Rule",
    "ScaleMatrix",
    "ScaleNetwork",
    "Scales",
    "Scaling",
    "Scan",
    "Setting",
    "Settings",
    "Shares",
    "Slice",
    "SliceError",
    "Source",
    "Space",
    "Statistics",
    "StatisticsKind",
    "StatisticsLike",
    "Target",
    "Tokenizer",
    "Truncation",
    "Verification",
    "VocabularyRules",
    "WantedSpace",
    "bind",
    "blend",
    "check_parents",
    "checkpoint_of",
    "citations",
    "combine_flat",
    "core_space",
    "crossover",
    "crossover_apart",
    "default_workers",
    "explain",
    "identity_of",
    "is_inputs_first",
    "lengths_beside_base",
    "linear_weights",
    "materialise",
    "merge",
    "merge_adapters",
    "merged_config",
    "method_named",
    "methods_of",
    "open_models",
    "open_statistics",
    "opened_statistics",
    "parameters_of",
    "path_blueprint",
    "path_config",
    "path_stack",
    "plan_blueprint",
    "plan_combination",
    "plan_merge",
    "plan_path",
    "plan_recipe",
    "read_combination",
    "read_evomistral",
    "read_recipe",
    "recipe_of",
    "references",
    "regression_mean",
    "save_statistics",
    "seeds_of",
    "share_lost",
    "slerp_weights",
    "sources_of",
    "tokenizer_of",
    "unknown_parameter",
    "verify",
    "vocabulary_rules",
    "write_companions",
    "write_merge",
    "write_recipe",
]
