"""TSV-M, Iso-C, Iso-CTS and WUDI from their equations: whole decompositions in float64, tensor by tensor.

Models are dictionaries of float64 arrays, as in `reference.py`. Nothing here imports the library. Where an equation has
more than one answer, for a cut between equal singular values or values between small and zero, that is a ValueError.
"""

from __future__ import annotations

import math

import numpy as np

ZERO = 1e-6


def matrixwise(rule):
    """A rule for the task vectors of one matrix, made one for whole models."""

    def whole(models, base, *, alpha, **parameters):
        merged = {}
        for name, origin in base.items():
            deltas = [model[name] - origin for model in models]
            change = sum(deltas) / len(models)
            if origin.ndim > 1 and min(sides(origin)) >= len(models):
                matrices = [delta.reshape(sides(origin)) for delta in deltas]
                change = rule(matrices, **parameters).reshape(origin.shape)
            merged[name] = origin + alpha * change
        return merged

    return whole


def sides(array):
    """Rows and columns of the matrix that a tensor is."""
    return len(array), math.prod(array.shape[1:])


def decomposed(matrix, most=None, beside=0.0):
    """Singular values that are not zero, at most so many, with left and right vectors as columns."""
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    greatest = max(s.max(initial=0.0), beside)
    relative = s / greatest if greatest else s
    if np.any((relative > 1e-9) & (relative < 1e-4)):
        raise ValueError("a singular value is neither zero nor clearly more")
    rank = int(np.sum(relative > ZERO))
    if most is not None and most < rank:
        if most and relative[most - 1] - relative[most] < 1e-6:
            raise ValueError("a cut between equal singular values")
        rank = most
    return u[:, :rank], s[:rank], vt[:rank].T


def polar(matrix):
    u, _, v = decomposed(matrix)
    return u @ v.T


@matrixwise
def tsv_m(matrices):
    k = min(matrices[0].shape) // len(matrices)
    u, s, v = (
        np.concatenate(each, axis=-1) for each in zip(*(decomposed(m, k) for m in matrices), strict=True)
    )
    return polar(u) @ np.diag(s) @ polar(v).T


@matrixwise
def iso_c(matrices):
    total = sum(matrices)
    u, s, v = decomposed(total)
    return s.sum() / min(total.shape) * u @ v.T


@matrixwise
def iso_cts(matrices, *, common):
    r, tasks = min(matrices[0].shape), len(matrices)
    own = min(round((r - math.floor(common * r)) / tasks), r // tasks)
    parts = [decomposed(sum(matrices), r - tasks * own)]
    outside = np.eye(len(matrices[0])) - parts[0][0] @ parts[0][0].T
    parts += [decomposed(outside @ matrix, own, np.linalg.norm(matrix)) for matrix in matrices]
    u, s, v = (np.concatenate(each, axis=-1) for each in zip(*parts, strict=True))
    return s.sum() / r * polar(u) @ polar(v).T


@matrixwise
def wudi(matrices, *, ridge):
    columns = matrices[0].shape[1]
    used = [m for m in matrices if m.any()]
    a = sum((m.T @ m / np.sum(m * m) for m in used), start=np.zeros((columns, columns)))
    b = sum((m @ m.T @ m / np.sum(m * m) for m in used), start=np.zeros(matrices[0].shape))
    if not used:
        return b
    return np.linalg.solve(a + ridge * np.mean(np.diag(a)) * np.eye(columns), b.T).T


REFERENCES = {"tsv_m": tsv_m, "iso_c": iso_c, "iso_cts": iso_cts, "wudi": wudi}
