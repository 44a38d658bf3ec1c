"""RegMean and Fisher merging from their equations, in float64, tensor by tensor.

Models and statistics are dictionaries of float64 arrays, as in `reference.py`. Nothing here imports the library.
"""

from __future__ import annotations

import numpy as np


def regmean(models, base, *, alpha, ridge, statistics):
    """Normal equations, solved by the singular values of what is inverted."""
    merged = {}
    for name, first in models[0].items():
        values = [model[name] for model in models]
        merged[name] = sum(values) / len(values)
        if name not in statistics[0]:
            continue
        grams = [_shrunk(each[name], alpha) for each in statistics]
        rho = ridge * np.trace(sum(grams)) / len(grams[0]) / len(grams)
        pulled = [gram + rho * np.eye(len(gram)) for gram in grams]
        left = sum(v.reshape(len(v), -1) @ gram for v, gram in zip(values, pulled, strict=True))
        merged[name] = np.linalg.lstsq(sum(pulled), left.T, rcond=None)[0].T.reshape(first.shape)
    return merged


def _shrunk(gram, alpha):
    return np.array([[x if i == j else alpha * x for j, x in enumerate(row)] for i, row in enumerate(gram)])


def fisher(models, base, *, weight, floor, statistics):
    numbers = [np.concatenate([each.reshape(-1) for each in model.values()]) for model in statistics]
    scales = [each.mean() if each.size and each.mean() > 0 else 1.0 for each in numbers]
    merged = {}
    for name in models[0]:
        shares = [
            w * np.maximum(each[name] / scale, floor)
            for w, each, scale in zip(weight, statistics, scales, strict=True)
        ]
        merged[name] = sum(s * m[name] for s, m in zip(shares, models, strict=True)) / sum(shares)
    return merged


REFERENCES = {"regmean": regmean, "regmean_plus_plus": regmean, "fisher": fisher}
