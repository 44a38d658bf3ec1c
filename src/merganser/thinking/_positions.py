r"""Where a feature is: what is added to a backbone's features.

| kind | formula |
| --- | --- |
| `fourier` | $\mathrm{norm}(W_2\,\mathrm{glu}(W_1 [\cos W_r x; \sin W_r x]/16 + b_1) + b_2)$, x in [0, 1]² |
| `multi-fourier` | ten of these with other spreads of $W_r$, mixed by a softmax |
| `rotational` | $W [R_{\phi_i} v; R_{\phi_j} v] + b$ at row i and column j, angles from 0 to 180° |
| `rotational-1d` | $W (-\sin\phi_l, \cos\phi_l) + b$ |

References:
    Li et al., *Learnable Fourier Features for Multi-Dimensional Spatial Positional Encoding*, NeurIPS 2021,
    algorithm 1, https://arxiv.org/abs/2106.02795
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

_WAVES, _HIDDEN = 128, 64
_SPREAD = 0.4  # γ, of which the official code takes the power -2 for a standard deviation
_SPREADS = tuple(1 - 0.1 * i for i in range(10))


class Fourier(nn.Module):
    """Learnable Fourier features of the two coordinates of a picture.

    Args:
        channels: Of the features.
        spread: γ; waves are drawn with standard deviation γ⁻².
    """

    def __init__(self, channels: int, spread: float = _SPREAD) -> None:
        super().__init__()
        self.waves = nn.Linear(2, _WAVES, bias=False)
        self.hidden = nn.Linear(2 * _WAVES, 2 * _HIDDEN)
        self.out = nn.Linear(_HIDDEN, channels)
        self.norm = nn.LayerNorm(channels)
        nn.init.normal_(self.waves.weight, std=spread**-2)

    def forward(
        self, features: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "1 channels height width"]:
        """Embeddings for features of this shape."""
        *_, height, width = features.shape
        options = {"device": features.device, "dtype": features.dtype}
        down = torch.arange(height, **options) / max(height - 1, 1)
        across = torch.arange(width, **options) / max(width - 1, 1)
        places = torch.stack([across.expand(height, -1), down.unsqueeze(-1).expand(-1, width)], dim=-1)
        phases = self.waves(places)
        waves = torch.cat([phases.cos(), phases.sin()], dim=-1) / math.sqrt(2 * _WAVES)
        hidden = nn.functional.glu(self.hidden(waves))
        return self.norm(self.out(hidden)).permute(2, 0, 1).unsqueeze(0)


class MultiFourier(nn.Module):
    """Fourier features of ten spreads, mixed.

    Args:
        channels: Of the features.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scales = nn.ModuleList(Fourier(channels, spread) for spread in _SPREADS)
        self.mixture = nn.Parameter(torch.ones(len(_SPREADS)))

    def forward(
        self, features: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "1 channels height width"]:
        """Embeddings for features of this shape."""
        each = torch.stack([scale(features) for scale in self.scales])
        return torch.einsum("s,sbchw->bchw", self.mixture.softmax(0), each)


class Rotational(nn.Module):
    """Rotations of a learnt vector, by row and by column; for square features.

    Args:
        channels: Of the features.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.tensor([0.0, 1.0]))
        self.project = nn.Linear(4, channels)

    def forward(
        self, features: Float[Tensor, "batch channels side side"]
    ) -> Float[Tensor, "1 channels side side"]:
        """Embeddings for features of this shape.

        Raises:
            ValueError: If they are not square.
        """
        *_, height, width = features.shape
        if height != width:
            raise ValueError(
                f"The positional embedding `rotational` needs square features, but these are {height}×{width}. "
                "Use square inputs, or `fourier`."
            )
        cos, sin = _half_turn(features, width)
        x, y = self.start
        turned = torch.stack([cos * x - sin * y, sin * x + cos * y], dim=-1)
        rows, columns = turned.unsqueeze(1).expand(-1, width, -1), turned.expand(width, -1, -1)
        return self.project(torch.cat([rows, columns], dim=-1)).permute(2, 0, 1).unsqueeze(0)


class Rotational1d(nn.Module):
    """Rotations of a fixed vector along a sequence.

    Args:
        channels: Of the features.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.project = nn.Linear(2, channels)

    def forward(self, features: Float[Tensor, "batch channels length"]) -> Float[Tensor, "1 channels length"]:
        """Embeddings for features of this shape."""
        cos, sin = _half_turn(features, features.shape[-1])
        return self.project(torch.stack([-sin, cos], dim=-1)).t().unsqueeze(0)


def positions(kind: str, channels: int) -> nn.Module | None:
    """The positional embedding of this kind, None for `none`."""
    kinds = {
        "fourier": Fourier,
        "multi-fourier": MultiFourier,
        "rotational": Rotational,
        "rotational-1d": Rotational1d,
    }
    return None if kind == "none" else kinds[kind](channels)


def _half_turn(features: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine of angles from 0 to 180°, in equal steps."""
    angles = torch.deg2rad(torch.linspace(0, 180, steps, device=features.device, dtype=features.dtype))
    return angles.cos(), angles.sin()
