"""The lineage property: a deep genealogy, carried out on vectors, is its combination of the seeds."""

import math

import numpy as np
import pytest

from merganser.merging import Combination, Gram, combine_flat, crossover

SIZE, POPULATION, DEPTH = 257, 20, 200


def weights(t, x, y, rule):
    """Factors of the two parents, from the vectors themselves."""
    lengths = math.sqrt(float(x @ x) * float(y @ y))
    if rule == "linear" or lengths == 0:
        return 1 - t, t
    angle = math.acos(min(1.0, max(-1.0, float(x @ y) / lengths)))
    if math.sin(angle) <= 1e-6:
        return 1 - t, t
    return math.sin((1 - t) * angle) / math.sin(angle), math.sin(t * angle) / math.sin(angle)


def on_vectors(a, b, weight, split, rule, angles):
    """Equation 2, step by step in float64."""
    sides = (slice(None, split), slice(split, None))
    spans = sides if angles == "sides" else (slice(None), slice(None))
    left, right = (weights(t, a[s], b[s], rule) for t, s in zip((weight, 1 - weight), spans, strict=True))
    return np.concatenate(
        [left[0] * a[:split] + left[1] * b[:split], right[0] * a[split:] + right[1] * b[split:]]
    )


@pytest.mark.parametrize("seeds", [2, 3, 4])
@pytest.mark.parametrize("split_points", [True, False], ids=["split", "no split"])
@pytest.mark.parametrize(("rule", "angles"), [("linear", "whole"), ("slerp", "whole"), ("slerp", "sides")])
def test_a_genealogy_of_two_hundred_generations_is_one_combination(rule, angles, split_points, seeds):
    generator = np.random.default_rng([seeds, split_points, len(rule), len(angles)])
    values = generator.standard_normal((seeds, SIZE)) * 0.02
    gram = Gram.of(values, block=int(generator.choice([1, 16])))
    digests = tuple(f"seed {k}" for k in range(seeds))
    genomes = [Combination.seed(digests, k, SIZE) for k in range(seeds)]
    vectors, depths = list(values), [0] * seeds
    while max(depths) < DEPTH:
        # a parent of the latest generation, so that the genealogy is as deep as it is long
        i = int(np.argmax(depths)) if generator.random() < 0.7 else int(generator.integers(len(genomes)))
        j = int(generator.integers(len(genomes)))
        weight = float(generator.random())
        split = int(generator.integers(SIZE)) if split_points else 0
        genomes.append(
            crossover(genomes[i], genomes[j], weight=weight, split=split, gram=gram, rule=rule, angles=angles)
        )
        vectors.append(on_vectors(vectors[i], vectors[j], weight, split, rule, angles))
        depths.append(1 + max(depths[i], depths[j]))
        if len(genomes) > POPULATION:
            gone = int(generator.integers(len(genomes) - 1))
            for kept in (genomes, vectors, depths):
                kept.pop(gone)
    scale = np.abs(values).max()
    for genome, vector in zip(genomes, vectors, strict=True):
        assert np.abs(combine_flat(genome, values) - vector).max() < 1e-11 * scale
    assert max(depths) >= DEPTH
