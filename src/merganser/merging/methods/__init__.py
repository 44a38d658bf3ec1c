"""The merge methods, one module each with its equation; [`METHODS`][] is the table of all.

| methods | what they do |
| --- | --- |
| linear, task_arithmetic, passthrough | add up with given weights |
| slerp, nuslerp, multislerp, karcher, model_stock | the same, with weights that follow from angles |
| ties, dare_*, della, della_linear, breadcrumbs, breadcrumbs_ties, sce | thin out task vectors, then add |
| neuromerging | splits the task vectors of every neuron at the base's weights, and merges what is orthogonal |
| tsv_m, iso_c, iso_cts, wudi | treat each matrix as a whole: make room for directions, or solve for a minimum |
| regmean, regmean_plus_plus, fisher | weigh what each model does with data, by statistics that were measured before |
| ram, ramplus, nearswap, arcee_fusion | treat each entry by how much, or in how many models, it changed |

A further method is one class and one row here; the test suite then holds it to the laws it claims.
"""

from collections.abc import Mapping
from types import MappingProxyType

from merganser.merging.methods._arcee_fusion import ArceeFusion
from merganser.merging.methods._breadcrumbs import Breadcrumbs, BreadcrumbsTies
from merganser.merging.methods._dare import DareLinear, DareTies
from merganser.merging.methods._della import Della, DellaLinear
from merganser.merging.methods._fisher import Fisher
from merganser.merging.methods._fractions import divisor_of
from merganser.merging.methods._linear import Linear, Passthrough, TaskArithmetic
from merganser.merging.methods._method import (
    Grams,
    Law,
    MergeMethod,
    Parameter,
    Part,
    Rule,
    Scan,
    Scope,
    Space,
    StatisticsKind,
    bind,
    fields_of,
    parameters_of,
    unknown_parameter,
)
from merganser.merging.methods._mixture import Mixture
from merganser.merging.methods._model_stock import ModelStock
from merganser.merging.methods._nearswap import NearSwap
from merganser.merging.methods._neuro import NeuroMerging
from merganser.merging.methods._noise import Noise
from merganser.merging.methods._on_cores import on_core
from merganser.merging.methods._ram import Ram, RamPlus
from merganser.merging.methods._regmean import RegMean, RegMeanPlusPlus, regression_mean
from merganser.merging.methods._sce import Sce
from merganser.merging.methods._slerp import NuSlerp, Slerp
from merganser.merging.methods._spherical import Karcher, MultiSlerp
from merganser.merging.methods._subspace import IsoC, IsoCts, TsvM
from merganser.merging.methods._ties import Ties
from merganser.merging.methods._wudi import Wudi

METHODS: Mapping[str, type[MergeMethod]] = MappingProxyType(
    {
        "linear": Linear,
        "slerp": Slerp,
        "nuslerp": NuSlerp,
        "multislerp": MultiSlerp,
        "karcher": Karcher,
        "task_arithmetic": TaskArithmetic,
        "ties": Ties,
        "dare_linear": DareLinear,
        "dare_ties": DareTies,
        "della": Della,
        "della_linear": DellaLinear,
        "breadcrumbs": Breadcrumbs,
        "breadcrumbs_ties": BreadcrumbsTies,
        "model_stock": ModelStock,
        "sce": Sce,
        "ram": Ram,
        "ramplus": RamPlus,
        "nearswap": NearSwap,
        "arcee_fusion": ArceeFusion,
        "tsv_m": TsvM,
        "iso_c": IsoC,
        "iso_cts": IsoCts,
        "wudi": Wudi,
        "neuromerging": NeuroMerging,
        "regmean": RegMean,
        "regmean_plus_plus": RegMeanPlusPlus,
        "fisher": Fisher,
        "passthrough": Passthrough,
    }
)
"""Every merge method, by the name users give."""

__all__ = [
    "METHODS",
    "Grams",
    "Law",
    "MergeMethod",
    "Mixture",
    "Noise",
    "Parameter",
    "Part",
    "Passthrough",
    "Rule",
    "Scan",
    "Scope",
    "Space",
    "StatisticsKind",
    "bind",
    "divisor_of",
    "fields_of",
    "on_core",
    "parameters_of",
    "regression_mean",
    "unknown_parameter",
]
