"""Every merge method once more: slow, in float64, whole tensors at a time, from the equations alone.

Models are dictionaries of float64 arrays. A parameter that each model has a value of is a list. The random methods are
given their masks. Nothing here imports the library.
"""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np


def tensorwise(rule):
    """A rule for one tensor, made one for whole models."""

    def whole(models, base, **parameters):
        masks = parameters.pop("masks", None)
        merged = {}
        for name in models[0]:
            more = {} if masks is None else {"masks": masks[name]}
            origin = None if base is None else base[name]
            merged[name] = rule([model[name] for model in models], origin, **parameters, **more)
        return merged

    return whole


def per_tensor_or_model(rule):
    """A rule for one vector, applied to each tensor, or to all of them strung together."""

    def whole(models, base, *, scope, **parameters):
        if scope == "tensor":
            return tensorwise(rule)(models, base, **parameters)
        names, shapes = list(models[0]), [array.shape for array in models[0].values()]
        strung = [np.concatenate([model[name].reshape(-1) for name in names]) for model in (*models, base)]
        merged = rule(strung[:-1], strung[-1], **parameters)
        ends = np.cumsum([math.prod(shape) for shape in shapes])
        return {n: p.reshape(s) for n, p, s in zip(names, np.split(merged, ends[:-1]), shapes, strict=True)}

    return whole


def rowwise(rule, values, base, **parameters):
    """A rule for vectors, applied to each row (a tensor of one dimension is one row)."""
    columns = values[0].shape[-1] if values[0].ndim else 1
    if not values[0].size:
        return values[0]
    stacked = [array.reshape(-1, columns) for array in values]
    origin = [None] * len(stacked[0]) if base is None else base.reshape(-1, columns)
    rows = [
        rule(list(rows), b, **parameters) for rows, b in zip(zip(*stacked, strict=True), origin, strict=True)
    ]
    return np.array(rows).reshape(values[0].shape)


# sums with given weights


@tensorwise
def linear(values, base, *, weight, normalize):
    return sum(w * v for w, v in zip(weight, values, strict=True)) / (sum(weight) if normalize else 1)


@tensorwise
def task_arithmetic(values, base, *, weight, normalize, lambda_):
    total = sum(w * (v - base) for w, v in zip(weight, values, strict=True))
    return base + lambda_ * total / (sum(weight) if normalize else 1)


@tensorwise
def passthrough(values, base, *, scale):
    return scale[0] * values[0]


# angles


def length(v):
    return math.sqrt(float(np.sum(v * v)))


def angle(a, b):
    """In radians; None where one of the vectors is zero."""
    if not length(a) or not length(b):
        return None
    u, v = a / length(a), b / length(b)
    return 2 * math.atan2(length(u - v), length(u + v))


def arc(a, b, t):
    omega = angle(a, b)
    if omega is None or math.sin(omega) <= (1e-6 if omega < 2 else 1e-3):
        return (1 - t) * a + t * b
    return (math.sin((1 - t) * omega) * a + math.sin(t * omega) * b) / math.sin(omega)


@tensorwise
def slerp(values, base, *, t):
    return arc(*values, t)


@tensorwise
def nuslerp(values, base, *, weight, along):
    t = weight[1] / sum(weight) if sum(weight) > 0 else 0.5

    def rule(vectors, origin):
        if origin is None:
            return arc(*vectors, t)
        return origin + arc(vectors[0] - origin, vectors[1] - origin, t)

    return rule(values, base) if along == "tensor" else rowwise(rule, values, base)


@tensorwise
def multislerp(values, base, *, weight, normalize_weights, eps):
    weight = np.array(weight) / (sum(weight) if normalize_weights else 1)
    vectors = values if base is None else [v - base for v in values]
    origin = 0 if base is None else base
    units = [v / (length(v) or 1) for v in vectors]
    mean = sum(w * u for w, u in zip(weight, units, strict=True))
    if length(mean) < max(eps, 1e-3 * np.abs(weight).sum()):
        return origin + sum(w * v for w, v in zip(weight, vectors, strict=True))
    mean = mean / length(mean)
    step = sum(w * (u - np.sum(u * mean) * mean) for w, u in zip(weight, units, strict=True))
    if length(step) > eps:
        mean = math.cos(length(step)) * mean + math.sin(length(step)) * step / length(step)
    return origin + sum(w * length(v) for w, v in zip(weight, vectors, strict=True)) * mean


@tensorwise
def karcher(values, base, *, weight, max_iter, tol):
    weight = np.array(weight) / sum(weight)
    radius = sum(w * length(v) for w, v in zip(weight, values, strict=True))
    seen = [(w, v / length(v)) for w, v in zip(weight, values, strict=True) if length(v) and w]
    if not seen:
        return 0 * values[0]
    total = sum(w for w, _ in seen)
    mean = sum(w / total * u for w, u in seen)
    mean = seen[0][1] if length(mean) < 1e-3 else mean / length(mean)
    for _ in range(max_iter):
        step = 0 * mean
        for w, u in seen:
            theta = angle(mean, u)
            if math.sin(theta) > 1e-3 or theta < 1:  # from the opposite pole every way is as long
                tangent = u - np.sum(u * mean) * mean
                step = step + w / total * tangent * (theta / math.sin(theta) if theta > 0 else 1)
        if length(step) <= tol:
            break
        mean = math.cos(length(step)) * mean + math.sin(length(step)) * step / length(step)
        mean = mean / length(mean)
    return radius * mean


@tensorwise
def model_stock(values, base, *, along):
    def rule(vectors, origin):
        deltas, n = [v - origin for v in vectors], len(vectors)
        angles = [angle(a, b) for a, b in combinations(deltas, 2)]
        c = np.mean([0.0 if omega is None else math.cos(omega) for omega in angles])
        bottom = 1 + (n - 1) * c
        t = n * c / bottom if abs(bottom) >= 1e-6 else 0.0
        return t * np.mean(vectors, axis=0) + (1 - t) * origin

    return rule(values, base) if along == "tensor" else rowwise(rule, values, base)


# thinning


def elected(deltas, weight, *, normalize, vote=None):
    """Signs by the vote's weights (the weights themselves by default), then the sum or mean of what agrees."""
    shares = [w * d for w, d in zip(weight, deltas, strict=True)]
    ballots = shares if vote is None else [v * d for v, d in zip(vote, deltas, strict=True)]
    sign = np.sign(sum(ballots))
    agree = [(np.sign(b) == sign) & (sign != 0) for b in ballots]
    total = sum(np.where(a, s, 0.0) for a, s in zip(agree, shares, strict=True))
    divisor = sum(np.where(a, w, 0.0) for a, w in zip(agree, weight, strict=True))
    return total / np.where(np.abs(divisor) < 1e-8, 1.0, divisor) if normalize else total


def added(deltas, weight, *, normalize):
    divisor = sum(weight) if normalize and abs(sum(weight)) >= 1e-8 else 1.0
    return sum(w * d for w, d in zip(weight, deltas, strict=True)) / divisor


def descending(values):
    return np.sort(values.reshape(-1))[::-1]


@per_tensor_or_model
def ties(values, base, *, weight, density, normalize, lambda_):
    trimmed = []
    for v, p in zip(values, density, strict=True):
        delta = v - base
        k = delta.size if p >= 1 else max(1, math.floor(p * delta.size)) if p > 0 else 0
        if delta.size:
            least = descending(np.abs(delta))[k - 1] if k else math.inf
            delta = np.where(np.abs(delta) >= least, delta, 0.0)
        trimmed.append(delta)
    return base + lambda_ * elected(trimmed, weight, normalize=normalize)


def middle(values, base, density, gamma):
    """What breadcrumbs keeps of the task vectors."""
    for v, p, g in zip(values, density, gamma, strict=True):
        delta = v - base
        keep = math.floor(p * delta.size)
        drop = min(math.floor(g * delta.size), delta.size - keep)
        ordered = descending(np.abs(delta))
        least = ordered[drop + keep - 1] if drop + keep else math.inf
        limit = ordered[drop - 1] if drop else math.inf
        yield np.where((np.abs(delta) >= least) & (np.abs(delta) < limit), delta, 0.0)


@tensorwise
def breadcrumbs(values, base, *, weight, density, gamma, normalize, lambda_):
    return base + lambda_ * added(list(middle(values, base, density, gamma)), weight, normalize=normalize)


@tensorwise
def breadcrumbs_ties(values, base, *, weight, density, gamma, normalize, lambda_):
    return base + lambda_ * elected(list(middle(values, base, density, gamma)), weight, normalize=normalize)


def rescaled(kept, deltas, chances, rescale):
    """Masked task vectors at their scale: divided by the chance, or at the old L1 norm."""
    for masked, delta, chance in zip(kept, deltas, chances, strict=True):
        if rescale == "exact":
            yield masked / np.where(np.asarray(chance) > 0, drawn(chance), 1.0)
        elif rescale == "l1" and np.abs(masked).sum() > 0:
            yield masked * (np.abs(delta).sum() / np.abs(masked).sum())
        else:
            yield masked


def thinned(values, base, masks, chances, rescale):
    deltas = [v - base for v in values]
    kept = [np.where(m, d, 0.0) for m, d in zip(masks, deltas, strict=True)]
    return list(rescaled(kept, deltas, chances, rescale))


@tensorwise
def dare_linear(values, base, *, weight, density, normalize, rescale, lambda_, masks):
    return base + lambda_ * added(thinned(values, base, masks, density, rescale), weight, normalize=normalize)


@tensorwise
def dare_ties(values, base, *, weight, density, normalize, rescale, lambda_, masks):
    return base + lambda_ * elected(
        thinned(values, base, masks, density, rescale), weight, normalize=normalize
    )


def ranks(row):
    """Place of each entry among the others by magnitude, from 0; of equals the first ranks lowest."""
    places = np.empty(len(row))
    places[np.argsort(np.abs(row), kind="stable")] = np.arange(len(row))
    return places


def drawn(chance):
    """Chances as 16-bit random numbers can draw them: to the nearest of 65,536 levels, but 0 only for 0."""
    return np.maximum(np.rint(np.asarray(chance) * 65_536), np.asarray(chance) > 0) / 65_536


def chances(values, base, density, epsilon):
    """Chance of every entry to be kept, by its rank in its row."""
    for v, p in zip(values, density, strict=True):
        columns = v.shape[-1] if v.ndim else 1
        rows = (v - base).reshape(-1, columns) if v.size else []
        chance = [
            p - epsilon + 2 * epsilon * ranks(row) / (columns - 1) if columns > 1 else [p] for row in rows
        ]
        yield np.array(chance).reshape(v.shape) if p < 1 else np.ones(v.shape)


@tensorwise
def della(values, base, *, weight, density, epsilon, normalize, rescale, lambda_, masks):
    p = chances(values, base, density, epsilon)
    return base + lambda_ * elected(thinned(values, base, masks, p, rescale), weight, normalize=normalize)


@tensorwise
def della_linear(values, base, *, weight, density, epsilon, normalize, rescale, lambda_, masks):
    p = chances(values, base, density, epsilon)
    return base + lambda_ * added(thinned(values, base, masks, p, rescale), weight, normalize=normalize)


@tensorwise
def sce(values, base, *, select_topk):
    deltas, n = np.array([v - base for v in values]), len(values)
    if select_topk < 1 and deltas[0].size:
        from_first = deltas - deltas[0]  # n² times the variance, exactly 0 where all are equal
        spread = n * np.sum(from_first**2, axis=0) - np.sum(from_first, axis=0) ** 2
        keep = math.floor(select_topk * np.count_nonzero(spread))
        deltas = deltas * (spread >= (descending(spread)[keep - 1] if keep else math.inf))
    energy = np.array([np.sum(d * d) for d in deltas])
    shares = energy / energy.sum() if energy.sum() > 0 else np.full(n, 1 / n)
    return base + elected(list(deltas), shares.tolist(), normalize=True, vote=[1.0] * n)


# entry by entry


def activity(values, base, epsilon):
    deltas = np.array([v - base for v in values])
    active = np.abs(deltas) > epsilon
    return deltas * active, active, active.sum(axis=0)


@tensorwise
def ram(values, base, *, epsilon):
    deltas, _, count = activity(values, base, epsilon)
    return base + np.where(count > 1, deltas.sum(axis=0) / np.maximum(count, 1), deltas.sum(axis=0))


@per_tensor_or_model
def ramplus(values, base, *, epsilon, r, alpha):
    deltas, active, count = activity(values, base, epsilon)
    merged = np.array(base)
    for delta, is_active in zip(deltas, active, strict=True):
        unique, shared = np.sum(is_active & (count == 1)), np.sum(is_active & (count > 1))
        factor = 1 + r * min(max(shared / unique, 0), alpha) if unique else 1
        merged = merged + np.where(count == 1, factor * delta, 0.0)
    return merged + np.where(count > 1, deltas.sum(axis=0) / np.maximum(count, 1), 0.0)


@tensorwise
def nearswap(values, base, *, t):
    delta = values[0] - base
    k = np.minimum(1.0, t / np.where(delta == 0, 1.0, np.abs(delta)))
    return base + k * delta


@tensorwise
def arcee_fusion(values, base):
    if not base.size:
        return base
    columns = base.shape[-1] if base.ndim else 1
    other, origin = values[0].reshape(-1, columns), base.reshape(-1, columns)
    p, q = (np.exp(rows - rows.max(axis=1, keepdims=True)) for rows in (other, origin))
    p, q = (rows / rows.sum(axis=1, keepdims=True) + 1e-8 for rows in (p, q))
    divergence = np.sum(p * np.log(p / q), axis=1, keepdims=True)
    importance = np.abs(other - origin) * divergence
    first, median, third = (quantile(importance, part) for part in (0.25, 0.5, 0.75))
    moved = importance >= median + 1.5 * (third - first)
    return np.where(moved, other, origin).reshape(base.shape)


def quantile(values, part):
    ordered = np.sort(values.reshape(-1))
    place = part * (values.size - 1)
    low, high = ordered[math.floor(place)], ordered[math.ceil(place)]
    return low + (place - math.floor(place)) * (high - low)


REFERENCES = {
    "linear": linear,
    "slerp": slerp,
    "nuslerp": nuslerp,
    "multislerp": multislerp,
    "karcher": karcher,
    "task_arithmetic": task_arithmetic,
    "ties": ties,
    "dare_linear": dare_linear,
    "dare_ties": dare_ties,
    "della": della,
    "della_linear": della_linear,
    "breadcrumbs": breadcrumbs,
    "breadcrumbs_ties": breadcrumbs_ties,
    "model_stock": model_stock,
    "sce": sce,
    "ram": ram,
    "ramplus": ramplus,
    "nearswap": nearswap,
    "arcee_fusion": arcee_fusion,
    "passthrough": passthrough,
}
"""Each takes models, a base or None, and the parameters; `lambda` is spelt `lambda_`."""


def bfloat16(values):
    """The nearest bfloat16 of float64 numbers, ties to even, as float64: rounded once, not through float32."""
    values = np.asarray(values, np.float64)
    _, exponent = np.frexp(values)
    quantum = np.ldexp(1.0, np.maximum(exponent, -125) - 8)  # 8 bits of significand; subnormals below 2^-126
    return np.rint(values / quantum) * quantum
