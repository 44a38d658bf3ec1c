"""ResNets cut off after one to four groups of blocks, whose first convolution is 3×3 and keeps the resolution.

| name | blocks of the four groups | features of 1, 2, 3, 4 groups |
| --- | --- | --- |
| `resnet18` | 2, 2, 2, 2 | 64, 128, 256, 512 |
| `resnet34` | 3, 4, 6, 3 | the same |
| `resnet50` | 3, 4, 6, 3, each with a bottleneck | four times as many |
| `resnet101`, `resnet152` | 3, 4, 23, 3 and 3, 4, 36, 3 | the same |

A 1×1 convolution to three colours comes first, whatever the pictures' channels. A ResNet-152 has 8 blocks in its second
group; the paper's code has 4, and weights of its models fit no other.

References:
    He et al., *Deep Residual Learning for Image Recognition*, CVPR 2016, https://arxiv.org/abs/1512.03385
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

_BLOCKS = {
    "18": (2, 2, 2, 2),
    "34": (3, 4, 6, 3),
    "50": (3, 4, 6, 3),
    "101": (3, 4, 23, 3),
    "152": (3, 4, 36, 3),
}
_NARROW = ("18", "34")
_FIRST = 64


class Residual(nn.Module):
    """Convolutions with norms, added to what came in.

    Args:
        inputs: Channels that come in.
        planes: Channels inside; as many go out, four times as many with a bottleneck.
        stride: Of the 3×3 convolution that thins out.
        bottleneck: Whether one 3×3 convolution lies between two 1×1, in place of two 3×3.
    """

    def __init__(self, inputs: int, planes: int, *, stride: int, bottleneck: bool) -> None:
        super().__init__()
        outputs = planes * (4 if bottleneck else 1)
        shapes = [(inputs, planes, 3, stride), (planes, planes, 3, 1)]
        if bottleneck:
            shapes = [(inputs, planes, 1, 1), (planes, planes, 3, stride), (planes, outputs, 1, 1)]
        self.convolutions = nn.ModuleList(_convolution(*shape) for shape in shapes)
        self.norms = nn.ModuleList(nn.BatchNorm2d(shape[1]) for shape in shapes)
        self.shortcut = None
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(_convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))

    def forward(
        self, inputs: Float[Tensor, "batch inputs height width"]
    ) -> Float[Tensor, "batch outputs h w"]:
        """Features one block later."""
        hidden = inputs
        last = len(self.convolutions) - 1
        for i, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            hidden = norm(convolution(hidden))
            hidden = functional.relu(hidden) if i < last else hidden
        return functional.relu(hidden + (inputs if self.shortcut is None else self.shortcut(inputs)))


class ResNet(nn.Module):
    """A ResNet without its classifier.

    Args:
        channels: Of the pictures.
        name: Such as ``"resnet34-2"``: layers, and how many groups of blocks are kept.

    Attributes:
        width: Channels of the features.
    """

    def __init__(self, channels: int, name: str) -> None:
        super().__init__()
        layers, kept = name.removeprefix("resnet").split("-")
        bottleneck = layers not in _NARROW
        self.colours = nn.Conv2d(channels, 3, kernel_size=1)
        self.first = _convolution(3, _FIRST, 3, 1)
        self.norm = nn.BatchNorm2d(_FIRST)
        self.groups, self.width = nn.ModuleList(), _FIRST
        for i, count in enumerate(_BLOCKS[layers][: int(kept)]):
            planes, blocks = _FIRST * 2**i, nn.ModuleList()
            for j in range(count):
                stride = 2 if i and not j else 1
                blocks.append(Residual(self.width, planes, stride=stride, bottleneck=bottleneck))
                self.width = planes * (4 if bottleneck else 1)
            self.groups.append(blocks)

    def forward(
        self, inputs: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch features h w"]:
        """Features of pictures."""
        hidden = functional.relu(self.norm(self.first(self.colours(inputs))))
        hidden = functional.max_pool2d(hidden, kernel_size=3, stride=2, padding=1)
        for group in self.groups:
            assert isinstance(group, nn.ModuleList)
            for block in group:
                hidden = block(hidden)
        return hidden


def _convolution(inputs: int, outputs: int, size: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, bias=False)
