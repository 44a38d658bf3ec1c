"""All of mergekit's methods, by its names."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from merganser.merging.methods._method import MergeMethod
from merganser.merging.methods.mergekit._arcs import NuSlerp, Slerp
from merganser.merging.methods.mergekit._renamed import Linear, Passthrough, Ram, RamPlusTl
from merganser.merging.methods.mergekit._sce import Sce
from merganser.merging.methods.mergekit._signature import Signature
from merganser.merging.methods.mergekit._spheres import Karcher, ModelStock, MultiSlerp
from merganser.merging.methods.mergekit._task_vectors import (
    Breadcrumbs,
    BreadcrumbsTies,
    DareLinear,
    DareTies,
    Della,
    DellaLinear,
    TaskArithmetic,
    Ties,
)
from merganser.merging.methods.mergekit._toward_one import ArceeFusion, NearSwap

MERGEKIT: Mapping[str, type[MergeMethod]] = MappingProxyType(
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
        "ramplus_tl": RamPlusTl,
        "nearswap": NearSwap,
        "arcee_fusion": ArceeFusion,
        "passthrough": Passthrough,
    }
)
"""mergekit's merge methods, by its names."""

SIGNATURES: Mapping[str, Signature] = MappingProxyType(
    {name: Signature.of(method) for name, method in MERGEKIT.items()}
)
"""What each of them takes."""
