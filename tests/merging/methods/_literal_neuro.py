"""NeuroMerging from its equations: a singular value decomposition for every neuron, a loop over every direction.

Models are dictionaries of float64 arrays, as in `reference.py`. Nothing here imports the library.
"""

from __future__ import annotations

import math

import numpy as np

ROUNDING = 1e-9


def neuromerging(models, base, *, density, lambda_orthogonal, lambda_parallel, rescale, cap, count, scope):
    """The merged model."""
    deltas = [{name: model[name] - base[name] for name in base} for model in models]
    groups = [list(base)] if scope == "model" else [[name] for name in base]
    merged = {}
    for names in groups:
        kept, removed = [], 0.0
        for delta, share in zip(deltas, density, strict=True):
            trimmed = trim([delta[name] for name in names], share)
            before = sum(np.abs(delta[name]).sum() for name in names)
            after = sum(np.abs(array).sum() for array in trimmed)
            removed = max(removed, 1 - after / before if before > 0 else 0.0)
            kept.append(trimmed)
        scale = lambda_orthogonal
        if rescale == "l1":
            scale *= min(cap, 1 / (1 - removed)) if removed < 1 else cap
        for i, name in enumerate(names):
            added = tensor([trimmed[i] for trimmed in kept], base[name], lambda_parallel, scale, count)
            merged[name] = base[name] + added
    return merged


def trim(arrays, density):
    """Everything but the largest entries of all arrays together set to zero."""
    magnitudes = np.sort(np.concatenate([np.abs(array).reshape(-1) for array in arrays]))[::-1]
    if density >= 1 or not magnitudes.size:
        return arrays
    if density <= 0:
        return [np.zeros_like(array) for array in arrays]
    least = magnitudes[max(1, math.floor(density * magnitudes.size)) - 1]
    return [np.where(np.abs(array) >= least, array, 0.0) for array in arrays]


def tensor(deltas, base, parallel_scale, orthogonal_scale, count):
    """What is added to one tensor."""
    if base.ndim < 2:
        return orthogonal_scale * by_entry(deltas)
    if not base.size:
        return np.zeros_like(base)
    rows = [delta.reshape(len(base), -1) for delta in deltas]
    merged = [
        neuron(np.array([each[k] for each in rows]), w, parallel_scale, orthogonal_scale, count)
        for k, w in enumerate(base.reshape(len(base), -1))
    ]
    return np.array(merged).reshape(base.shape)


def by_entry(deltas):
    stacked = np.stack([delta.reshape(-1) for delta in deltas])
    merged = [elected_mean(entries, tie=0.0) for entries in stacked.T]
    return np.array(merged).reshape(deltas[0].shape)


def neuron(deltas, w, parallel_scale, orthogonal_scale, count):
    """What is added to one neuron."""
    if not w.any():
        return orthogonal_scale * by_entry(deltas)
    coefficients = deltas @ w / (w @ w)
    orthogonal = deltas - np.outer(coefficients, w)
    along = elected_mean(coefficients) * w
    return parallel_scale * along + orthogonal_scale * merge_orthogonal(orthogonal, count)


def merge_orthogonal(vectors, count="literal"):
    """Principal direction after principal direction."""
    _, _, directions = np.linalg.svd(vectors, full_matrices=False)
    merged = np.zeros(vectors.shape[1])
    for direction in directions:
        coordinates = np.array([vector @ direction for vector in vectors])
        if count == "thresholded":
            small = np.abs(coordinates) <= 0.3 * np.abs(coordinates).max()
            coordinates = np.where(small, 0.0, coordinates)
        merged += elected_mean(coordinates) * direction
    return merged


def elected_mean(numbers, tie=ROUNDING):
    """Mean of those that have the sign of the sum; what rounding leaves of zero is zero."""
    limit = tie * np.abs(numbers).max()
    counted = [number for number in numbers if abs(number) > limit]
    total = sum(counted)
    if abs(total) <= limit:
        return 0.0
    agreeing = [number for number in counted if number * total > 0]
    return sum(agreeing) / len(agreeing)
