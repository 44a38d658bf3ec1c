"""Thought machines of every combination of parts, and inputs for them."""

import torch
from hypothesis import strategies as st

from merganser.thinking import CTM, CTMConfig

PICTURES = ("digits", "resnet18-1")
SIDE = 9


@st.composite
def configs(draw, backbones=("none", "parity", "grid", "control", "digits", "resnet18-1")):
    """Small configurations; parts that do not go together are not drawn."""
    backbone = draw(st.sampled_from(backbones))
    sliding = backbone in ("none", "grid", "control") and draw(st.booleans())
    heads = (
        0
        if sliding
        else draw(st.sampled_from([0, 1, 2] if backbone in ("none", "grid", "control") else [1, 2]))
    )
    kinds = ["none", "rotational-1d"] if backbone == "parity" else ["none"]
    if backbone in PICTURES:
        kinds = ["none", "fourier", "multi-fourier", "rotational"]
    depth = draw(st.integers(1, 3))
    positions = draw(st.sampled_from([1, 3]))
    return CTMConfig(
        outputs=draw(st.sampled_from([0, 6])),
        positions=positions,
        ticks=draw(st.integers(1, 5)),
        neurons=draw(st.integers(12, 18)),
        width=4,
        memory=draw(st.integers(1, 4)),
        heads=heads,
        hidden=draw(st.integers(0, 3)),
        neuron_norm=draw(st.booleans()),
        synapse_depth=depth,
        synapse_blocks=draw(st.integers(1, 2)) if depth == 1 else 1,
        pairing="first-last"
        if sliding
        else draw(st.sampled_from(["first-last", "random", "random-pairing"])),
        output_neurons=draw(st.integers(2, 6)),
        action_neurons=draw(st.integers(2, 6)) if heads else 0,
        self_pairs=draw(st.integers(0, 1)),
        seed=draw(st.integers(0, 9)),
        sliding=sliding,
        backbone=backbone,
        channels=3,
        positional=draw(st.sampled_from(kinds)),
    )


def build(config, seed=0, dtype=torch.float32):
    """A machine with random decays, biases and temperatures: those of a new one are too regular to tell much."""
    torch.manual_seed(seed)
    model = CTM(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("decay"):
                parameter.uniform_(0, 1.5)
            elif name.endswith("temperature"):
                parameter.uniform_(0.7, 1.4)
            elif name.endswith(("bias", "norm.weight", "mixture")):
                parameter.add_(0.3 * torch.randn_like(parameter))
    return model.to(dtype)


def inputs_for(config, batch, seed=0, dtype=torch.float32):
    """A batch of inputs."""
    generator = torch.Generator().manual_seed(seed)
    match config.backbone:
        case "parity":
            return torch.randint(0, 2, (batch, 5), generator=generator).to(dtype) * 2 - 1
        case "grid":
            return torch.randint(0, 3, (batch, 7, 7, 3), generator=generator)
        case "control":
            return torch.randn(batch, 3, generator=generator).to(dtype)
        case "none":
            shape = (batch, 3, 4) if config.heads else (batch, 3)
            return torch.randn(shape, generator=generator).to(dtype)
    return torch.randn(batch, 3, SIDE, SIDE, generator=generator).to(dtype)
