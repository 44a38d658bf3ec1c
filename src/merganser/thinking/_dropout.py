"""Dropout that draws its masks four to a number: torch draws one for each element, which costs more than the layer.

The share is rounded to a multiple of 1/65,536, and what is kept is scaled by the rounded share. Masks come from torch's
generator.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_LEVELS = 65536
_ALL = slice(None)


class Mask:
    """Which elements stay; all of them where the share is 0.

    Args:
        like: A tensor of the shape and on the device.
        share: To be dropped, in [0, 1).
    """

    def __init__(self, like: Tensor, share: float) -> None:
        dropped = min(round(share * _LEVELS), _LEVELS - 1)
        stays = _numbers(like) >= dropped - _LEVELS // 2 if dropped else None
        self._stays = (
            None if stays is None else stays.view(torch.uint8)
        )  # torch reads bytes faster than truth values
        self._scale = _LEVELS / (_LEVELS - dropped)

    def __call__(self, tensor: Tensor, part: slice = _ALL) -> Tensor:
        """What stays, scaled so that sums stay the same on average.

        Args:
            tensor: As large as the mask, or as a part of it.
            part: Of its first dimension.
        """
        return tensor if self._stays is None else self._factors(tensor, part).mul_(tensor)

    def apply_(self, tensor: Tensor, part: slice = _ALL) -> Tensor:
        """The same in place."""
        return tensor if self._stays is None else tensor.mul_(self._factors(tensor, part))

    def _factors(self, tensor: Tensor, part: slice) -> Tensor:
        assert self._stays is not None
        return self._stays[part].to(tensor.dtype).mul_(self._scale)


def _numbers(like: Tensor) -> Tensor:
    """Integers of 16 bits, all alike probable."""
    words = torch.empty(-(-like.numel() // 4), dtype=torch.int64, device=like.device)
    return words.random_(-(2**63), None).view(torch.int16)[: like.numel()].view(like.shape)


class Dropout(nn.Module):
    """Drops a share of elements in training.

    Args:
        share: In [0, 1).
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, inputs: Tensor) -> Tensor:
        """What stays."""
        return Mask(inputs, self.share if self.training else 0.0)(inputs)
