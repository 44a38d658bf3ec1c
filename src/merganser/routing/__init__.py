"""Models that stay apart, and what decides which of them answers.

| names | what |
| --- | --- |
| [`LayerRouting`][], [`Level`][], [`LEVELS`][] | what is mixed where, when MLPs are mixed feature by feature |
| [`assemble`][], [`RoutedNet`][], [`trunk_distance`][] | any torch module with the MLPs of several |
| [`train_routers`][], [`router_step`][], [`mean_loss`][], [`split_rows`][], [`Split`][] | training, of routers alone |
| [`RouterTraining`][], [`RouterState`][], [`Look`][] | how they are trained, and where training is |
| [`TokenWindows`][], [`LabelledRows`][], [`RouterData`][], [`Loss`][] | what they are trained on |
| [`usage_of`][], [`Usage`][] | who is used where |
| [`RoutedModel`][], [`Ingredient`][] | a language model that is routed |
| [`save_routed`][], [`open_routed`][], [`is_routed`][] | the folder of one |
| [`load`][], [`Opener`][] | whatever speaks, routed or not; what a task asks |
| [`ProductOfExperts`][], [`LogitBatch`][], [`ProductModel`][] | models combined by what they answer |
| `merganser.routing.requests` | request by request: contracts, experts, a router and its dispatcher |
"""

from merganser.routing._load import load
from merganser.routing._opener import Opener
from merganser.routing._outputs import LogitBatch, ProductOfExperts
from merganser.routing._product_model import ProductModel
from merganser.routing.layers import (
    LEVELS,
    Ingredient,
    LabelledRows,
    LayerRouting,
    Level,
    Look,
    Loss,
    RoutedModel,
    RoutedNet,
    RouterData,
    RouterState,
    RouterTraining,
    Split,
    TokenWindows,
    Usage,
    assemble,
    is_routed,
    mean_loss,
    open_routed,
    router_step,
    save_routed,
    split_rows,
    train_routers,
    trunk_distance,
    usage_of,
)

__all__ = [
    "LEVELS",
    "Ingredient",
    "LabelledRows",
    "LayerRouting",
    "Level",
    "LogitBatch",
    "Look",
    "Loss",
    "Opener",
    "ProductModel",
    "ProductOfExperts",
    "RoutedModel",
    "RoutedNet",
    "RouterData",
    "RouterState",
    "RouterTraining",
    "Split",
    "TokenWindows",
    "Usage",
    "assemble",
    "is_routed",
    "load",
    "mean_loss",
    "open_routed",
    "router_step",
    "save_routed",
    "split_rows",
    "train_routers",
    "trunk_distance",
    "usage_of",
]
