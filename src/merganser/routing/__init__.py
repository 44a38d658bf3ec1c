"""Models that stay apart, and what decides which of them answers.

| where | what |
| --- | --- |
| `merganser.routing.layers` | the MLPs of several models on one trunk, mixed token by token |
| `merganser.routing.requests` | request by request: contracts, experts, a router and its dispatcher |
| [`ProductOfExperts`][], [`LogitBatch`][], [`ProductModel`][] | models combined by what they answer |
| [`load`][], [`Opener`][] | whatever speaks, routed or not; what a task asks |
"""

from merganser.routing._load import load
from merganser.routing._opener import Opener
from merganser.routing._outputs import LogitBatch, ProductOfExperts
from merganser.routing._product_model import ProductModel

__all__ = ["LogitBatch", "Opener", "ProductModel", "ProductOfExperts", "load"]
