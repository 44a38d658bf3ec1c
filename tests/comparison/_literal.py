"""HSIC as it is written down, slowly, in float64."""

import numpy as np


def hsic_1(K, L):
    """The unbiased estimate (Song et al., eq. 5)."""
    n = len(K)
    K, L = K - np.diag(np.diag(K)), L - np.diag(np.diag(L))
    one = np.ones(n)
    first = np.trace(K @ L)
    second = (one @ K @ one) * (one @ L @ one) / ((n - 1) * (n - 2))
    third = 2 / (n - 2) * (one @ K @ L @ one)
    return (first + second - third) / (n * (n - 3))


def gram(x):
    x = np.asarray(x, np.float64)
    x = x - x.mean(axis=0)
    return x @ x.T


def minibatch_cka(xs, ys):
    """CKA of batches, each weighted by n(n - 3)."""

    def total(a, b):
        return sum(len(x) * (len(x) - 3) * hsic_1(gram(x), gram(y)) for x, y in zip(a, b, strict=True))

    return total(xs, ys) / np.sqrt(total(xs, xs) * total(ys, ys))


def biased_cka(x, y):
    K, L = gram(x), gram(y)
    return np.sum(K * L) / np.sqrt(np.sum(K * K) * np.sum(L * L))
