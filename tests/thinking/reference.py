"""A thought machine in the plainest way: from the paper's definitions, slow, neuron by neuron, nothing kept.

Synchronisation is the decayed inner product of whole histories, a memory is a list, attention projects its tokens again
at every tick. Only the backbone is the model's own: the official module's outputs are what holds that.
"""

import math

import torch
from torch.nn import functional


def think(model, inputs, ticks):
    """Logits (batch, outputs, ticks), certainties (batch, ticks), synchronisations (batch, pairs, ticks)."""
    config, w = model.config, {**dict(model.named_parameters()), **dict(model.named_buffers())}
    features = inputs if model.backbone is None else model.backbone(inputs)
    features = features + place(config.positional, w, features)
    batch = len(features)
    if config.sliding:
        activations = [w["start_activations"][:, m].expand(batch, -1) for m in range(config.memory)]
    else:
        activations = [w["start_activations"].expand(batch, -1)]
    received = [w["start_history"][:, m].expand(batch, -1) for m in range(config.memory)]
    synchronisations = []
    for _ in range(ticks):
        if config.heads:
            seen = look(config, w, features, synchronisation(w, "action", activations, config.max_decay))
        elif features.ndim > 2:
            seen = features.flatten(2).transpose(1, 2).flatten(1)
        else:
            seen = features
        received.append(synapse(config, w, torch.cat([seen, activations[-1]], dim=1)))
        memory = torch.stack(received[-config.memory :], dim=-1)  # (batch, neurons, memory)
        columns = [neuron(config, w, d, memory[:, d]) for d in range(config.neurons)]
        activations.append(torch.stack(columns, dim=1))
        window = activations[-config.memory :] if config.sliding else activations
        synchronisations.append(synchronisation(w, "output", window, config.max_decay))
    together = torch.stack(synchronisations, dim=-1)
    if not config.outputs:
        return None, None, together
    logits = [linear(w, "head", each) for each in synchronisations]
    certainties = [certainty(each, config.positions) for each in logits]
    return torch.stack(logits, dim=-1), torch.stack(certainties, dim=-1), together


def synchronisation(w, which, history, max_decay):
    """sum over τ of exp(-θ (t - τ)) z_i z_j, over the root of the sum of the same exponentials."""
    left, right = w[f"{which}.left"], w[f"{which}.right"]
    decay = w[f"{which}.decay"].clamp(0, max_decay)
    above = below = 0
    for age, z in enumerate(reversed(history)):
        weight = torch.exp(-decay * age)
        above = above + weight * z[:, left] * z[:, right]
        below = below + weight
    return above / torch.sqrt(below)


def look(config, w, features, asking):
    tokens = features.flatten(2).transpose(1, 2)
    tokens = norm(w, "attention.norm", linear(w, "attention.project", tokens))
    query = linear(w, "attention.query", linear(w, "attention.ask", asking))
    keys, values = linear(w, "attention.keys_values", tokens).chunk(2, dim=-1)
    depth, seen = config.width // config.heads, []
    for head in range(config.heads):
        part = slice(head * depth, (head + 1) * depth)
        logits = (keys[..., part] @ query[:, part].unsqueeze(-1)).squeeze(-1) / math.sqrt(depth)
        seen.append((logits.softmax(-1).unsqueeze(-1) * values[..., part]).sum(1))
    return linear(w, "attention.out", torch.cat(seen, dim=-1))


def synapse(config, w, inputs):
    if config.synapse_depth == 1:
        for i in range(config.synapse_blocks):
            inputs = norm(w, f"synapse.{i}.norm", gate(linear(w, f"synapse.{i}.linear", inputs)))
        return inputs

    def step(name, x):
        x = norm(w, f"synapse.{name}.norm", linear(w, f"synapse.{name}.linear", x))
        return x * torch.sigmoid(x)

    levels = [step("first", inputs)]
    for i in range(config.synapse_depth - 1):
        levels.append(step(f"down.{i}", levels[-1]))
    hidden = levels[-1]
    for i in reversed(range(config.synapse_depth - 1)):
        hidden = norm(w, f"synapse.norms.{i}", step(f"up.{i}", hidden) + levels[i])
    return hidden


def neuron(config, w, d, memory):
    """The network of one neuron on its memory (batch, memory)."""
    for i in range(2 if config.hidden else 1):
        if config.neuron_norm:
            memory = norm(w, f"neurons.layers.{i}.norm", memory)
        mapped = memory @ w[f"neurons.layers.{i}.weight"][d].t() + w[f"neurons.layers.{i}.bias"][d]
        memory = gate(mapped / w[f"neurons.layers.{i}.temperature"])
    return memory[:, 0]


def certainty(logits, positions):
    total = 0
    for part in logits.chunk(positions, dim=1):
        shares = part.softmax(-1)
        total = total - (shares * shares.log()).sum(-1) / math.log(part.shape[1])
    return 1 - total / positions


def place(kind, w, features):
    """What is added to say where a feature is."""
    if kind == "none":
        return 0
    if kind == "rotational-1d":
        angles = turn(features.shape[-1], features)
        rows = [linear(w, "positions.project", torch.stack([-a.sin(), a.cos()])) for a in angles]
        return torch.stack(rows, dim=-1)
    height, width = features.shape[-2:]
    rows = [[spot(kind, w, i, j, height, width, features) for j in range(width)] for i in range(height)]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def spot(kind, w, i, j, height, width, features):
    if kind == "rotational":
        angles = turn(width, features)
        x, y = w["positions.start"]
        turned = [torch.stack([a.cos() * x - a.sin() * y, a.sin() * x + a.cos() * y]) for a in angles]
        return linear(w, "positions.project", torch.cat([turned[i], turned[j]]))
    where = features.new_tensor([j / max(width - 1, 1), i / max(height - 1, 1)])
    if kind == "fourier":
        return fourier(w, "positions", where)
    shares = w["positions.mixture"].softmax(0)
    return sum(share * fourier(w, f"positions.scales.{n}", where) for n, share in enumerate(shares))


def fourier(w, name, where):
    phases = w[f"{name}.waves.weight"] @ where
    waves = torch.cat([phases.cos(), phases.sin()]) / 16
    return norm(w, f"{name}.norm", linear(w, f"{name}.out", gate(linear(w, f"{name}.hidden", waves))))


def turn(steps, like):
    return [like.new_tensor(math.pi * k / max(steps - 1, 1)) for k in range(steps)]


def linear(w, name, x):
    return x @ w[f"{name}.weight"].t() + w[f"{name}.bias"]


def norm(w, name, x):
    return functional.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"])


def gate(x):
    value, gate = x.chunk(2, dim=-1)
    return value * torch.sigmoid(gate)
