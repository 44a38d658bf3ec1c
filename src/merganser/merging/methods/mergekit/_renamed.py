"""Methods whose formula is the same in mergekit: only names, defaults or what must be given differ.

| mergekit's | ours, with |
| --- | --- |
| linear | `weight` must be given |
| passthrough | |
| ram | |
| ramplus_tl | ramplus, `scope="tensor"` |
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, final

from jaxtyping import Float

from merganser.merging.methods import _linear, _ram
from merganser.merging.methods._method import MergeMethod, Part, PerModel, Rule, Scan, Scope, parameter

if TYPE_CHECKING:
    from torch import Tensor


def rule_like(ours: type[MergeMethod], **changes: Any) -> Rule:
    """The rule of a method of ours, for mergekit's of the same kind; which laws that keeps is not claimed."""
    return dataclasses.replace(ours.rule, laws=frozenset(), **changes)


class _Renamed(MergeMethod):
    """A method that leaves everything to one of ours."""

    @property
    @abstractmethod
    def _ours(self) -> MergeMethod:
        """Our method, with its parameters."""

    @property
    def scope(self) -> Scope:
        """As ours."""
        return self._ours.scope

    def prepare(self, scan: Scan) -> Any:
        """As ours."""
        return self._ours.prepare(scan)

    def combine(self, part: Part, stats: Any) -> Float[Tensor, " elements"]:
        """As ours."""
        return self._ours.combine(part, stats)


@final
@dataclass(frozen=True)
class Linear(_Renamed):
    """Weighted average; a base is one more model."""

    rule: ClassVar[Rule] = rule_like(_linear.Linear)
    weight: PerModel = parameter("weight of each model")
    normalize: bool = parameter("divide by the sum of the weights", True)

    def __post_init__(self) -> None:
        self._ours  # noqa: B018  # refuses weights that cannot be normalised, before anything is read

    @property
    def _ours(self) -> MergeMethod:
        return _linear.Linear(self.weight, self.normalize)


@final
@dataclass(frozen=True)
class Passthrough(_Renamed):
    """One model, perhaps scaled; a base would be one more model, and is one too many."""

    rule: ClassVar[Rule] = rule_like(_linear.Passthrough)
    scale: PerModel = parameter("factor on every weight", 1.0)

    @property
    def _ours(self) -> MergeMethod:
        return _linear.Passthrough(self.scale)


@final
@dataclass(frozen=True)
class Ram(_Renamed):
    """Average of what is shared, sum of what is not."""

    rule: ClassVar[Rule] = rule_like(_ram.Ram)
    epsilon: float = parameter("magnitude above which a weight counts as changed", 1e-5)

    @property
    def _ours(self) -> MergeMethod:
        return _ram.Ram(self.epsilon)


@final
@dataclass(frozen=True)
class RamPlusTl(_Renamed):
    """RAM with what is not shared amplified, by shares of each tensor."""

    rule: ClassVar[Rule] = rule_like(_ram.RamPlus)
    r: float = parameter("how much a share amplifies", 0.1)
    alpha: float = parameter("greatest share that counts", 0.2)
    epsilon: float = parameter("magnitude above which a weight counts as changed", 1e-5)

    @property
    def _ours(self) -> MergeMethod:
        return _ram.RamPlus(epsilon=self.epsilon, r=self.r, alpha=self.alpha, scope_="tensor")
