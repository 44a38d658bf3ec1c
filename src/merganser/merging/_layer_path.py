r"""A model as a way through the blocks of others, whose weights stay as they are.

Hop $t$ of a path runs block $b_t$ of model $m_t$. On the way in, a scale $s_t$ multiplies

| scaling | what | formula | whose |
| --- | --- | --- | --- |
| `state` | the whole hidden state | $h_t = F_t(s_t\, h_{t-1})$ | the paper's, section 3.2 |
| `handed` | the last MLP's output $u$ alone | $h_t = F_t(r_{t-1} + s_t\, u_{t-1})$ | the released server's |

with $r$ what goes around the MLP, so $h_t = r_t + u_t$, and in the beginning $u_{-1}$ the embeddings and $r_{-1} = 0$.
The two are different models. Which one the authors searched with is not public.

Where a block adds to the stream what it makes of the stream's *direction*, $h \leftarrow h + f(\mathrm{norm}(h))$, the
scales can be folded into the last matrices of attention and MLP ([`LayerPath.folded`][]):

| scaling | attention's output times | MLP's output times |
| --- | --- | --- |
| `state` | $1 / c_t$, with $c_t = s_0 \cdots s_t$ | $1 / c_t$ |
| `handed` | $1 / s_0$ | $s_{t+1} / s_0$, with $s_T = 1$ |

References:
    Akiba et al., *Evolutionary Optimization of Model Merging Recipes*, 2024, https://arxiv.org/abs/2403.13187.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from operator import mul
from typing import Any, Literal, NamedTuple, get_args

Scaling = Literal["state", "handed"]
"""What a scale multiplies: the whole hidden state, or what the hop before hands over."""

PATH_FORMAT = "merganser/path"
"""What tells this kind of recipe from others."""


@dataclass(frozen=True, slots=True)
class Hop:
    """One step of a path.

    Args:
        model: Number of the model, in the order of the path's seeds.
        block: Number of the block in it, from 0.
        scale: $s_t$, finite.
    """

    model: int
    block: int
    scale: float = 1.0


class Fold(NamedTuple):
    """What the last matrices of a hop's block are multiplied with, and their biases.

    Attributes:
        attention: Factor on what attention adds to the stream.
        mlp: Factor on what the MLP adds.
    """

    attention: float
    mlp: float


@dataclass(frozen=True, slots=True)
class LayerPath:
    """A path through blocks: a value, hashable and serialisable.

    Attributes:
        seeds: Digests of the models. The first gives embeddings, head, tokenizer and configuration.
        hops: The blocks in order; the first and the last are blocks of the first model.
        scaling: What scales multiply.

    Raises:
        ValueError: If there is no hop, one has no such seed or a scale that cannot be, or the ends are not the first
            model's.

    Examples:
        >>> path = LayerPath(("a", "b"), (Hop(0, 0), Hop(1, 1, 0.5), Hop(0, 1, 2.0)))
        >>> path.folded()[1], path.folded()[2]
        (Fold(attention=2.0, mlp=2.0), Fold(attention=1.0, mlp=1.0))
    """

    seeds: tuple[str, ...]
    hops: tuple[Hop, ...]
    scaling: Scaling = "state"

    def __post_init__(self) -> None:
        if self.scaling not in get_args(Scaling):
            raise ValueError(f"`scaling` must be state or handed, but is {self.scaling!r}.")
        if not self.hops:
            raise ValueError("A path needs hops, but has none.")
        for t, hop in enumerate(self.hops):
            if not 0 <= hop.model < len(self.seeds) or hop.block < 0:
                raise ValueError(
                    f"Hop {t} goes through block {hop.block} of model {hop.model}, but there are {len(self.seeds)} "
                    "models, numbered from 0 as their blocks are."
                )
            self._check_scale(t, hop.scale)
        for what, hop in (("begin", self.hops[0]), ("end", self.hops[-1])):
            if hop.model != 0:
                raise ValueError(
                    f"A path must {what} with a block of the first model, which gives embeddings and head, but this "
                    f"one does with block {hop.block} of model {hop.model}. Put that model first."
                )

    @classmethod
    def whole(cls, seeds: Sequence[str], blocks: int) -> LayerPath:
        """The path that is the first model itself, of so many blocks."""
        return cls(tuple(seeds), tuple(Hop(0, block) for block in range(blocks)))

    @property
    def digest(self) -> str:
        """Hash of the content, 32 hex digits."""
        content = json.dumps(self.to_json(), sort_keys=True)
        return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()

    def trimmed(self) -> LayerPath:
        """The same model said in the one shortest way: without seeds that no hop goes through.

        Examples:
            >>> LayerPath(("a", "b"), (Hop(0, 0), Hop(0, 1)), "handed").trimmed() == LayerPath.whole(["a"], 2)
            True
        """
        used = sorted({hop.model for hop in self.hops})
        hops = tuple(Hop(used.index(hop.model), hop.block, hop.scale) for hop in self.hops)
        scaling = self.scaling if any(hop.scale != 1.0 for hop in hops) else "state"
        return LayerPath(tuple(self.seeds[model] for model in used), hops, scaling)

    def folded(self) -> tuple[Fold, ...]:
        """For each hop the factors that take the place of its scale.

        Raises:
            ValueError: If scales multiply to a number that is zero or infinite in double precision.
        """
        scales = [hop.scale for hop in self.hops]
        if self.scaling == "state":
            products = list(accumulate(scales, mul))
            if not all(0.0 < product < math.inf for product in products):
                raise ValueError(
                    f"The scales of {len(scales)} hops multiply to {min(products):g} … {max(products):g}. Keep them "
                    "nearer to 1."
                )
            return tuple(Fold(1.0 / product, 1.0 / product) for product in products)
        return tuple(Fold(1.0 / scales[0], after / scales[0]) for _, after in pairwise([*scales, 1.0]))

    def to_json(self) -> dict[str, Any]:
        """Plain form; floats are written with all their digits, so that reading returns the same digest."""
        return {
            "format": PATH_FORMAT,
            "version": 1,
            "seeds": list(self.seeds),
            "scaling": self.scaling,
            "hops": [[hop.model, hop.block, float(hop.scale)] for hop in self.hops],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> LayerPath:
        """Read the plain form.

        Raises:
            KeyError: If something is missing.
            ValueError: If it is another format or a newer version, or something is not what it should be.
        """
        if data.get("format") != PATH_FORMAT or data.get("version") != 1:
            raise ValueError(
                f"Expected a recipe of format {PATH_FORMAT!r}, version 1, but found {data.get('format')!r}, version "
                f"{data.get('version')!r}. Was it written by a newer release?"
            )
        seeds = tuple(data["seeds"])
        if not all(isinstance(seed, str) for seed in seeds):
            raise ValueError(f"its seeds are {data['seeds']!r}.")
        return cls(seeds, tuple(map(_hop, data["hops"])), data["scaling"])

    def _check_scale(self, t: int, scale: float) -> None:
        is_turned = scale <= 0 and (t == 0 or self.scaling == "state")
        if not math.isfinite(scale) or is_turned:
            wanted = "positive" if is_turned else "finite"
            raise ValueError(f"The scale of hop {t} must be {wanted}, but is {scale}.")


def _hop(data: Any) -> Hop:
    match data:
        case [int(model), int(block), int() | float() as scale] if bool not in map(type, data):
            return Hop(model, block, float(scale))
    raise ValueError(f"Expected a hop as [model, block, scale], found {data!r}.")
