"""Where the MLPs of a module are."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

_USUAL = r"(.+\.)?\d+\.mlp"
"""What GPT-2, Llama and their kin call them."""


def mlp_names(module: nn.Module, pattern: str | None = None) -> tuple[str, ...]:
    """Names of a module's MLPs, block by block.

    Args:
        module: Any torch module.
        pattern: Names with a `*` for the number of the block; None for the usual ones.

    Raises:
        ValueError: If there are none, or those of several stacks.
    """
    wanted = re.compile(_USUAL if pattern is None else re.escape(pattern).replace(r"\*", r"\d+"))
    found = [name for name, _ in module.named_modules() if wanted.fullmatch(name)]
    stacks = {re.sub(r"(^|\.)\d+(?=\.)", r"\1*", name) for name in found}
    if pattern is None and len(stacks) > 1:
        raise ValueError(
            f"{type(module).__name__} has MLPs in several stacks: {', '.join(sorted(stacks))}. Say which: `mlps`."
        )
    if not found:
        known = [name for name, _ in module.named_modules() if name][:6]
        raise ValueError(
            f"{type(module).__name__} has no parts called {pattern or '….*.mlp'!r}. Name its MLPs with a `*` for the "
            f"number of the block (`mlps`). It has {', '.join(known)}, …"
        )
    return tuple(found)


def width_of(mlp: nn.Module) -> int:
    """Width of what goes into an MLP: the inputs of its first linear layer.

    Raises:
        ValueError: If it has none.
    """
    from torch import nn

    for part in mlp.modules():
        if isinstance(part, nn.Linear):
            return part.in_features
        if type(part).__name__ == "Conv1D" and hasattr(part, "nf"):  # GPT-2's, which stores inputs first
            return int(part.get_parameter("weight").shape[0])
    raise ValueError(f"Expected an MLP with a linear layer, but {type(mlp).__name__} has none.")
