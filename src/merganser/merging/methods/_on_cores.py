"""Methods on cores: what is left of task vectors in bases that hold all of them (see `_core_space`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from jaxtyping import Float

from merganser.merging.methods._matrices import MatrixMethod, is_matrix, is_table, sides_of, task_matrices
from merganser.merging.methods._method import MergeMethod, Part, Rule, Scan, Scope

if TYPE_CHECKING:
    from torch import Tensor


def on_core(method: MergeMethod, name: str, shape: tuple[int, ...], models: int) -> MergeMethod:
    """A method as it merges the cores of a tensor; whatever depends on name and shape goes by the whole tensor's.

    Args:
        method: The method.
        name: The tensor.
        shape: The tensor's shape.
        models: Number of models beside the base.
    """
    if not isinstance(method, MatrixMethod):
        return method
    sides = sides_of(shape) if is_matrix(shape, models) and not is_table(name) else None
    return _OnCore(method, sides)


@final
@dataclass(frozen=True)
class _OnCore(MergeMethod):
    """A method on matrices, by the sides of those whose cores it is given; None where they are merged by the mean."""

    rule: ClassVar[Rule] = Rule("a method on matrices, carried out on their cores", "2509.17786")
    method: MatrixMethod
    sides: tuple[int, int] | None

    @property
    def scope(self) -> Scope:
        """Whole matrices."""
        return "tensor"

    def prepare(self, scan: Scan) -> Float[Tensor, " elements"] | None:
        """The merged core; None where it is the mean."""
        return None if self.sides is None else self.method.scaled(task_matrices(scan), self.sides)

    def combine(self, part: Part, stats: Float[Tensor, " elements"] | None) -> Float[Tensor, " elements"]:
        """Its elements."""
        return self.method.combine(part, stats)
