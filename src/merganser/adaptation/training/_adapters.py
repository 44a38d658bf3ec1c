r"""What is trained: an expert's vectors, a LoRA, or all weights.

| adapter | what is trained | numbers for a matrix of $m \times n$ | learning rate unless said |
| --- | --- | --- | --- |
| [`Svf`][] | how much each singular direction counts | $\min(m, n)$ | 0.02 (`sigmoid`), 0.01 (`plain`) |
| [`Lora`][] | two matrices of a small rank $r$ | $r (m + n)$ | 0.001 |
| [`Full`][] | the weights themselves | $m n$, and all other tensors | 0.00001 |

A LoRA of rank 1 on all linear layers is the fair rival of an expert: *LoRA Without Regret* finds it level with full
fine-tuning by reward.

References:
    Schulman et al., *LoRA Without Regret*, 2025, https://thinkingmachines.ai/blog/lora/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, TypeAlias

from merganser.adaptation._choose import choose_matrices
from merganser.adaptation._parametrise import PARAMETRISATIONS, Parametrisation
from merganser.weights import Checkpoint

_ALL = ("mlp", "attention", "other")


@dataclass(frozen=True, slots=True)
class Svf:
    """An expert: one number for each singular direction of the chosen matrices.

    Args:
        components: What matrices do, as in [`choose_matrices`][merganser.adaptation.choose_matrices].
        modules: Last names of modules whose matrices are taken besides.
        layers: Numbers of blocks, from 0; None for all.
        parametrisation: ``"sigmoid"`` (logits, nuclear norm kept) or ``"plain"`` (scale less 1).
        rank: How many leading directions of each matrix; None for all.

    Raises:
        ValueError: If the parametrisation is unknown or `rank` not positive.
    """

    kind: ClassVar[str] = "svf"

    components: tuple[str, ...] = ("mlp",)
    modules: tuple[str, ...] = ()
    layers: tuple[int, ...] | None = None
    parametrisation: Parametrisation = "sigmoid"
    rank: int | None = None

    def __post_init__(self) -> None:
        if self.parametrisation not in PARAMETRISATIONS:
            raise ValueError(
                f"Expected a parametrisation among {', '.join(PARAMETRISATIONS)}, found {self.parametrisation!r}."
            )
        _check_least("rank", self.rank)

    @property
    def learning_rate(self) -> float:
        """What Adam begins with unless the settings say otherwise: for about a hundred steps."""
        return 0.02 if self.parametrisation == "sigmoid" else 0.01

    def matrices(self, checkpoint: Checkpoint) -> tuple[str, ...]:
        """Names of the matrices that are adapted, as they are in the file."""
        return choose_matrices(
            checkpoint, components=self.components, modules=self.modules, layers=self.layers
        )


@dataclass(frozen=True, slots=True)
class Lora:
    r"""Two small matrices beside each chosen one: $W + \frac{\alpha}{r} B A$.

    Args:
        rank: $r$.
        alpha: $\alpha$; the change is multiplied with alpha / rank.
        components: What matrices do; by default all linear layers of the blocks.
        modules: Last names of modules whose matrices are taken besides.
        layers: Numbers of blocks, from 0; None for all.

    Raises:
        ValueError: If `rank` or `alpha` is not positive.
    """

    kind: ClassVar[str] = "lora"

    rank: int = 1
    alpha: float = 32.0
    components: tuple[str, ...] = _ALL
    modules: tuple[str, ...] = ()
    layers: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        _check_least("rank", self.rank)
        if self.alpha <= 0:
            raise ValueError(f"Expected a positive `alpha`, found {self.alpha:g}.")

    @property
    def learning_rate(self) -> float:
        """What Adam begins with unless the settings say otherwise."""
        return 1e-3

    def matrices(self, checkpoint: Checkpoint) -> tuple[str, ...]:
        """Names of the matrices that are adapted, as they are in the file."""
        return choose_matrices(
            checkpoint, components=self.components, modules=self.modules, layers=self.layers
        )


@dataclass(frozen=True, slots=True)
class Full:
    """All weights themselves: no adapter."""

    kind: ClassVar[str] = "full"

    @property
    def learning_rate(self) -> float:
        """What Adam begins with unless the settings say otherwise."""
        return 1e-5

    def matrices(self, checkpoint: Checkpoint) -> tuple[str, ...]:  # noqa: ARG002 - all there are
        """None: nothing is adapted."""
        return ()


Adapter: TypeAlias = Svf | Lora | Full

ADAPTERS: Mapping[str, type[Svf] | type[Lora] | type[Full]] = {each.kind: each for each in (Svf, Lora, Full)}
"""Kinds of adapters by name."""


def adapter_facts(adapter: Adapter) -> dict[str, Any]:
    """An adapter as plain data."""
    plain = {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(adapter).items()}
    return {"kind": adapter.kind, **plain}


def _check_least(name: str, value: int | None) -> None:
    if value is not None and value < 1:
        raise ValueError(f"Expected `{name}` of at least 1, found {value}.")
