"""Routers of features: the MLPs of several models on one trunk, mixed token by token.

| names | what |
| --- | --- |
| [`LayerRouting`][], [`Level`][], [`LEVELS`][] | what is mixed where |
| [`assemble`][], [`RoutedNet`][], [`trunk_distance`][] | any torch module with the MLPs of several |
| [`train_routers`][], [`router_step`][], [`mean_loss`][], [`split_rows`][], [`Split`][] | training, of routers alone |
| [`RouterTraining`][], [`RouterState`][], [`Look`][] | how it is trained, and where it is |
| [`TokenWindows`][], [`LabelledRows`][], [`RouterData`][], [`Loss`][] | what it is trained on |
| [`usage_of`][], [`Usage`][] | who is used where |
| [`RoutedModel`][], [`Ingredient`][] | a language model that is routed |
| [`save_routed`][], [`open_routed`][], [`is_routed`][] | it as a folder |
"""

from merganser.routing.layers._assemble import RoutedNet, assemble, trunk_distance
from merganser.routing.layers._data import LabelledRows, Loss, RouterData, TokenWindows
from merganser.routing.layers._folder import is_routed, open_routed, save_routed
from merganser.routing.layers._model import Ingredient, RoutedModel
from merganser.routing.layers._plan import LEVELS, LayerRouting, Level
from merganser.routing.layers._state import Look, RouterState, RouterTraining
from merganser.routing.layers._train import Split, mean_loss, router_step, split_rows, train_routers
from merganser.routing.layers._usage import Usage, usage_of

__all__ = [
    "LEVELS",
    "Ingredient",
    "LabelledRows",
    "LayerRouting",
    "Level",
    "Look",
    "Loss",
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
    "mean_loss",
    "open_routed",
    "router_step",
    "save_routed",
    "split_rows",
    "train_routers",
    "trunk_distance",
    "usage_of",
]
