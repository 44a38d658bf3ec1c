r"""What is mixed where: the levels of a feature router, its experts at each block, its count of parameters.

| level | shares of the experts | parameters, $E$ models, $L$ blocks of width $d$, reach $N$ |
| --- | --- | --- |
| `static` | numbers, the same everywhere | $E - 1$ |
| `single` | $\mathrm{softmax}(W h_1)$, from the first block's input, the same in all blocks | $E d$ |
| `layers` | $\mathrm{softmax}(W_l h_l)$ over the MLPs of the block's own depth | $L E d$ |
| `cross-depth` | the same over the MLPs of $N$ depths | $L E N d$ |

References:
    Pari, Jelassi, Agrawal, *Collective Model Intelligence Requires Compatible Specialization*, 2024,
    https://arxiv.org/abs/2411.02207
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias, get_args

Level: TypeAlias = Literal["static", "single", "layers", "cross-depth"]
"""How finely experts are mixed."""

LEVELS: tuple[Level, ...] = get_args(Level)


@dataclass(frozen=True, slots=True)
class LayerRouting:
    """How the MLPs of several models are mixed, block by block.

    Args:
        level: How finely.
        reach: Depths whose MLPs a block may use, at least 2 for `cross-depth`; 1 for all other levels.
        top_k: Experts computed for each token, those with the largest shares; None for all.
        mlps: Names of the MLPs in the module with a `*` for the number of the block, such as ``"blocks.*.mlp"``; None
            for those that are called ``….*.mlp``, as in GPT-2 and Llama.
        own_bias: Added to the logits of the MLPs of the block's own depth; in nats, not trained.

    Raises:
        ValueError: If the parts do not fit each other.

    Examples:
        >>> LayerRouting("cross-depth", reach=2).parameters(models=2, blocks=12, width=768)
        36864
    """

    level: Level = "layers"
    reach: int = 1
    top_k: int | None = None
    mlps: str | None = None
    own_bias: float = 0.0

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise ValueError(f"Expected a level of {', '.join(LEVELS)}, found {self.level!r}.")
        if self.level == "cross-depth" and self.reach < 2:
            raise ValueError(
                f"`cross-depth` mixes MLPs of at least 2 depths, but `reach` is {self.reach}. Use `layers` for one."
            )
        if self.level != "cross-depth" and self.reach != 1:
            raise ValueError(
                f"Only `cross-depth` has a reach, but `reach` is {self.reach} for {self.level!r}."
            )
        if self.level != "cross-depth" and self.own_bias != 0:
            raise ValueError(f"Only `cross-depth` has a use for `own_bias`, but it is {self.own_bias:g}.")
        if self.top_k is not None and (self.level == "static" or self.top_k < 1):
            raise ValueError(
                f"Expected `top_k` of at least 1 for a level with routers, found {self.top_k} for {self.level!r}."
            )
        if self.mlps is not None and self.mlps.split(".").count("*") != 1:
            raise ValueError(
                f"Expected names of MLPs with one `*` in the place of the block's number, found {self.mlps!r}."
            )

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> LayerRouting:
        """What `to_json` gave.

        Raises:
            ValueError: If it is something else.
        """
        try:
            return cls(**value)
        except TypeError as error:
            raise ValueError(f"this is no routing of layers: {error}") from error

    def to_json(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)

    def depths(self, blocks: int) -> tuple[tuple[int, ...], ...]:
        """For each block the depths whose MLPs it uses, its own first.

        Upwards as far as there are blocks; the remainder is taken downwards.

        Raises:
            ValueError: If there are fewer blocks than the reach.

        Examples:
            >>> LayerRouting("cross-depth", reach=3).depths(4)
            ((0, 1, 2), (1, 2, 3), (2, 3, 1), (3, 2, 1))
        """
        if self.reach > blocks:
            raise ValueError(f"A reach of {self.reach} needs as many blocks, but there are {blocks}.")
        found = []
        for own in range(blocks):
            above = list(range(own, min(own + self.reach, blocks)))
            below = [own - k for k in range(1, self.reach - len(above) + 1)]
            found.append((*above, *below))
        return tuple(found)

    def parameters(self, *, models: int, blocks: int, width: int) -> int:
        """Trainable parameters of all routers.

        Args:
            models: Models whose MLPs are mixed, the base too if it is among them.
            blocks: Blocks of each.
            width: Of what goes into an MLP.
        """
        if self.level == "static":
            return models - 1
        return models * self.reach * width * (1 if self.level == "single" else blocks)
