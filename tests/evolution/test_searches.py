"""What every search promises, for every search with every space that makes sense."""

from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pytest

from merganser.evolution import (
    BruteForce,
    CmaEs,
    CombinationSpace,
    DenseSpace,
    DenseVectors,
    Genes,
    Grid,
    LayerWeights,
    MapElites,
    MixedCmaEs,
    NaturalNiches,
    Niches,
    Nsga2,
    Objectives,
    PathSpace,
    RandomSearch,
    RecipeSpace,
    Row,
    SubsetSearch,
    Variation,
    _random,
    keyed_generator,
)
from merganser.merging import PathLayout, ScaleNetwork

SIZE, SAMPLES = 12, 40
WEIGHTS = np.ones(SAMPLES)
GROUPS = np.arange(SAMPLES) % 2 == np.array([[0], [1]])
GRID = 9


def vectors(kind):
    x = np.random.default_rng(0).standard_normal((4, SIZE)).astype(np.float32)
    return {
        "two": x[:2],
        "three": x[:3],
        "single": x[:1],
        "equal": np.stack([x[0], x[0]]),
        "zero": np.stack([x[0], np.zeros(SIZE, np.float32)]),
        "zeros": np.zeros((2, SIZE), np.float32),
        "opposite": np.stack([x[0], -x[0]]),
    }[kind]


def exact(kind="two", **options):
    values = vectors(kind)
    return CombinationSpace([f"seed {k}" for k in range(len(values))], values, **options)


def dense(kind=None, **options):
    return DenseSpace(3, SIZE, starts=None if kind is None else list(vectors(kind)), **options)


def niches(space, population=5, competition=Niches(), **variation):
    return lambda weights=WEIGHTS: NaturalNiches.start(
        space(), weights, seed=1, population=population, niches=competition, variation=Variation(**variation)
    )


def genetic(space, **variation):
    return niches(space, competition=Niches(alpha=0.0), attraction=False, **variation)


def elites(space):
    return lambda weights=WEIGHTS: MapElites.start(space(), weights, seed=1, groups=GROUPS, bins=4)


def fronts(space, population=5):
    objectives = Objectives(("even", "odd"), np.arange(SAMPLES) % 2)
    return lambda weights=WEIGHTS: Nsga2.start(space(), objectives, seed=1, population=population)


def random(space):
    return lambda weights=WEIGHTS: RandomSearch.start(space(), weights, seed=1, population=5)


def brute(space):
    return lambda weights=WEIGHTS: BruteForce.start(space(), weights, steps=GRID, population=5)


def strategy(target, **options):
    return lambda weights=WEIGHTS: CmaEs.start(target(), weights, seed=1, **{"population": 6, **options})


def layers(kind):
    return lambda: LayerWeights(exact(kind), (0, 5, 9, SIZE))


def by_rule(parameter="weight"):
    return RecipeSpace(Genes("ties", {parameter: None}), ["a", "b"], SIZE, base="base")


def paths(scales=None):
    return PathSpace(PathLayout(("a", "b"), (3, 2), repeats=2), scales=scales)


def switches(**options):
    return lambda weights=WEIGHTS: MixedCmaEs.start(paths(**options), weights, seed=1, population=6)


def flat_of(space, genome):
    """Parameters of a genome; those of a merge or a path, which is not carried out here, are drawn by its name."""
    if isinstance(space, RecipeSpace | PathSpace):
        return keyed_generator(genome.digest).standard_normal(SIZE)
    return space.flat(genome)


KINDS = ("two", "three", "single", "equal", "zero", "zeros", "opposite")
PAIRS = ("two", "equal", "zero", "zeros", "opposite")
SEARCHES = {
    **{f"niches {k}": niches(lambda k=k: exact(k)) for k in KINDS},
    **{f"niches dense {k}": niches(lambda k=k: dense(k)) for k in (None, *KINDS)},
    "niches sides": niches(lambda: exact("three", angles="sides")),
    "niches line": niches(lambda: exact("three", rule="linear")),
    "niches dense sides": niches(lambda: dense(angles="sides", count=3)),
    "niches unmutated": niches(lambda: dense("two", sigma=0.0)),
    "niches without attraction": niches(exact, attraction=False),
    "niches without split point": niches(exact, split_point=False),
    "niches without crossover": niches(dense, crossover=False),
    "niches without early rejection": niches(exact, early_rejection=False),
    "niches with warm-up": niches(lambda: exact("three"), warmup=6),
    "niches with warm-up and one seed": niches(lambda: exact("single"), warmup=3),
    "niches of one": niches(exact, population=1),
    "niches of one dense": niches(dense, population=1),
    "niches continuous": niches(dense, competition=Niches(1.0, 0.1, False)),
    "niches alpha two": niches(dense, competition=Niches(2.0)),
    "genetic": genetic(exact),
    "genetic dense": genetic(dense),
    "genetic without crossover": genetic(dense, crossover=False),
    **{f"elites {k}": elites(lambda k=k: exact(k)) for k in KINDS},
    "elites dense": elites(dense),
    **{f"nsga2 {k}": fronts(lambda k=k: exact(k)) for k in KINDS},
    **{f"nsga2 dense {k}": fronts(lambda k=k: dense(k)) for k in (None, "single", "equal")},
    "nsga2 of two": fronts(lambda: exact("three"), population=2),
    "nsga2 genes": fronts(by_rule),
    "nsga2 genes of two": fronts(by_rule, population=2),
    **{f"random {k}": random(lambda k=k: exact(k)) for k in KINDS},
    "random dense": random(dense),
    **{f"brute force {k}": brute(lambda k=k: exact(k)) for k in PAIRS},
    "brute force dense": brute(lambda: dense("two", sigma=0.0)),
    **{f"cma-es layers {k}": strategy(layers(k)) for k in (*PAIRS, "three")},
    "cma-es dense": strategy(lambda: DenseVectors(dense()), covariance="full"),
    "cma-es dense diagonal": strategy(lambda: DenseVectors(dense()), covariance="diagonal"),
    "cma-es by itself": strategy(lambda: DenseVectors(dense()), population=None),
    "cma-es genes": strategy(by_rule, population=None),
    "cma-es paths": strategy(lambda: paths(ScaleNetwork(5, 10))),
    "mixed cma-es": switches(),
    "mixed cma-es with scales": switches(scales=ScaleNetwork(5, 10)),
    "random genes": random(by_rule),
    "random paths": random(lambda: paths(ScaleNetwork(5, 10))),
    "brute force genes": lambda weights=WEIGHTS: Grid.start(by_rule("lambda"), weights, steps=GRID - 3),
    "cma-es of two": strategy(lambda: DenseVectors(dense()), population=2),
    "cma-es begun again": strategy(by_rule, population=2, restarts=3),
}
VALUES = {name: start for name, start in SEARCHES.items() if not name.startswith("cma-es")}
"""The searches whose old states stay usable; the engine of CMA-ES changes in place, as it says."""


@dataclass(frozen=True)
class Toy:
    """Scores follow from the parameters alone: right where a coordinate has a wanted sign, or is near a target."""

    binary: bool = True

    def row(self, state, genome):
        space = state.vectors.space if isinstance(state, CmaEs) else state.space
        flat = flat_of(space, genome).astype(np.float64)
        generator = np.random.default_rng(5)
        projections = np.tanh(
            generator.standard_normal((SAMPLES, SIZE)) @ flat + 0.1 * generator.standard_normal(SAMPLES)
        )
        return Row((projections > 0).astype(np.float64) if self.binary else 0.5 + 0.5 * projections)


def run(state, children=36, row=None, n=1):
    """Rows and proposals of a run, with every state on the way."""
    history = []
    while sum(len(p) for _, p, _, _ in history) < children and not state.exhausted:
        asked, proposals = state.ask(n)
        if not proposals:
            break
        rows = [Toy().row(state, p.genome) if row is None else row(p) for p in proposals]
        told = asked.tell(proposals, rows)
        history.append((state, proposals, rows, told))
        state = told
    return state, history


@pytest.fixture(autouse=True)
def _small_tables(monkeypatch):
    """A million normal numbers for every dense space would take most of the time here."""
    monkeypatch.setattr(_random, "_TABLE_SLACK", 1 << 12)


@pytest.fixture(params=SEARCHES, ids=lambda name: name.replace(" ", "-"))
def start(request):
    return SEARCHES[request.param]


@pytest.fixture(params=VALUES, ids=lambda name: name.replace(" ", "-"))
def start_value(request):
    return VALUES[request.param]


def test_indices_are_consecutive_and_seeds_come_first(start):
    state, history = run(start())
    proposals = [p for _, batch, _, _ in history for p in batch]
    assert [p.index for p in proposals] == list(range(len(proposals)))
    space = state.vectors.space if isinstance(state, CmaEs) else state.space
    assert [p.digest for p in proposals[: len(space.seeds)]] == [s.digest for s in space.seeds]
    assert all((p.kind == "seed") == (p.index < len(space.seeds)) for p in proposals)
    for p in proposals:
        assert all(parent < p.index for parent in p.parents)
        assert np.isfinite(flat_of(space, p.genome)).all()
        if p.cross is not None:
            assert 0 <= p.cross.weight <= 1
            assert 0 <= p.cross.split < SIZE


def test_a_state_always_proposes_the_same(start_value):
    _state, history = run(start_value())
    for before, proposals, _, _ in history:
        for again in (before.ask(1)[1], before.ask(1)[1]):
            assert [(p.digest, p.parents, p.cross) for p in again] == [
                (p.digest, p.parents, p.cross) for p in proposals
            ]


def test_telling_does_not_change_the_state_that_is_told(start_value):
    state, remembered = start_value(), []
    for _ in range(GRID):
        remembered.append((state, [m.index for m in state.members], state.asked))
        asked, proposals = state.ask(1)
        state = asked.tell(proposals, [Toy().row(state, p.genome) for p in proposals])
    assert state.members
    for before, members, asked in remembered:
        assert [m.index for m in before.members] == members
        assert before.asked == asked


def test_members_hold_the_genomes_and_scores_they_were_told(start):
    state, history = run(start())
    told = {
        p.index: (p.digest, r.scores)
        for _, batch, rows, _ in history
        for p, r in zip(batch, rows, strict=True)
    }
    assert state.members
    for m in state.members:
        digest, scores = told[m.index]
        assert m.genome.digest == digest
        assert (m.scores == scores).all()


def test_telling_a_fresh_search_the_same_rows_brings_back_the_same_state(start):
    state, history = run(start())
    again = start()
    for _, proposals, rows, _ in history:
        again, asked = again.ask(1)
        assert [p.digest for p in asked] == [p.digest for p in proposals]
        again = again.tell(asked, [Row(r.scores.copy(), r.measured) for r in rows])
    assert [(m.index, m.genome.digest) for m in again.members] == [
        (m.index, m.genome.digest) for m in state.members
    ]
    assert again.exhausted == state.exhausted
    for _ in range(3):
        (state, one), (again, other) = state.ask(1), again.ask(1)
        assert [(p.index, p.digest, p.cross) for p in one] == [(p.index, p.digest, p.cross) for p in other]


def test_failures_score_nothing_and_break_nothing(start):
    state, history = run(start(), row=lambda p: Row(np.zeros(SAMPLES), failed="out of memory"))
    assert history
    assert state.members
    generator = np.random.default_rng(0)
    mixed, _ = run(
        start(), row=lambda p: Row((generator.random(SAMPLES) < 0.5) * 1.0 * (p.index % 3 > 0), failed=None)
    )
    assert mixed.members


def test_everybody_being_a_clone_breaks_nothing(start):
    state, _ = run(start(), row=lambda p: Row(np.ones(SAMPLES)))
    assert state.members
    assert all((m.scores == 1).all() for m in state.members)


def test_children_may_be_asked_for_in_batches(start):
    state, history = run(start(), n=7)
    proposals = [p for _, batch, _, _ in history for p in batch]
    assert [p.index for p in proposals] == list(range(len(proposals)))
    assert len(proposals) >= 8
    assert state.members


def test_before_anything_is_told_more_children_than_there_are_parents_wait(start):
    state, first = start().ask(50)
    state, second = state.ask(50)
    indices = [p.index for p in (*first, *second)]
    assert indices == list(range(len(indices)))
    assert first


def test_numpys_global_random_state_is_untouched_and_nothing_is_written(start, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.random.seed(1)
    before = np.random.get_state()
    digests = [p.digest for _, batch, _, _ in run(start(), children=25)[1] for p in batch]
    after = np.random.get_state()
    assert before[0] == after[0]
    assert (before[1] == after[1]).all()
    assert before[2:] == after[2:]
    assert list(tmp_path.iterdir()) == []
    np.random.seed(2)
    assert [p.digest for _, batch, _, _ in run(start(), children=25)[1] for p in batch] == digests


def test_the_seed_of_the_run_decides_what_is_proposed():
    for make in (
        lambda s: NaturalNiches.start(exact(), WEIGHTS, seed=s),
        lambda s: MapElites.start(exact(), WEIGHTS, seed=s, groups=GROUPS),
        lambda s: RandomSearch.start(exact(), WEIGHTS, seed=s),
        lambda s: Nsga2.start(exact(), Objectives(("even", "odd"), np.arange(SAMPLES) % 2), seed=s),
        lambda s: CmaEs.start(layers("two")(), WEIGHTS, seed=s),
    ):
        one, other = ([p.digest for _, b, _, _ in run(make(s), children=20)[1] for p in b] for s in (0, 1))
        assert one[:2] == other[:2]
        assert not set(one[2:]) & set(other[2:]) - set(one[:2])  # a parent crossed with itself is itself


def test_looking_whether_a_search_is_exhausted_does_not_exhaust_it(start):
    state, _ = run(start(), children=30, row=lambda p: Row(np.full(SAMPLES, 0.5)))
    assert len({state.exhausted for _ in range(20)}) == 1
    resumed = start()
    for _ in range(state.asked):
        resumed, asked = resumed.ask(1)
        resumed = resumed.tell(asked, [Row(np.full(SAMPLES, 0.5)) for _ in asked])
    assert resumed.exhausted == state.exhausted


def test_no_search_but_the_niches_rejects_early():
    for name in ("elites two", "nsga2 two", "random two", "brute force two", "cma-es layers two"):
        state, history = run(SEARCHES[name]())
        assert all(state.screen(p) is None for _, batch, _, _ in history for p in batch)


def test_populations_stay_within_their_size(start):
    _, history = run(start(), row=None)
    for _, _, _, told in history:
        limit = {NaturalNiches: 5, MapElites: 16, Nsga2: 5}.get(type(told), 20)
        assert len(told.members) <= limit
        assert len({m.index for m in told.members}) == len(told.members)


def test_only_finite_searches_are_ever_exhausted():
    for name, start in VALUES.items():
        state, history = run(start(), children=60)
        assert state.exhausted is name.startswith("brute force")
        if state.exhausted:
            assert len(history) == GRID
            assert state.ask(5)[1] == []


MOVABLE = [name for name in SEARCHES if not name.startswith(("elites", "nsga2"))]


def test_all_searches_but_those_over_several_aims_can_go_on_with_other_samples():
    assert [name for name, begin in SEARCHES.items() if isinstance(begin(), SubsetSearch)] == MOVABLE


@pytest.mark.parametrize("name", MOVABLE)
def test_moved_to_the_same_samples_a_search_is_as_it_was(name):
    state, _ = run(SEARCHES[name]())
    moved = state.on(WEIGHTS, {m.index: m.scores for m in state.members})
    assert [(m.index, m.scores.tolist()) for m in moved.members] == [
        (m.index, m.scores.tolist()) for m in state.members
    ]
    if name in VALUES:  # the engine of CMA-ES goes on when it is asked
        assert [p.digest for p in moved.ask(1)[1]] == [p.digest for p in state.ask(1)[1]]


@pytest.mark.parametrize("name", MOVABLE)
def test_moved_to_other_samples_a_search_goes_on_with_these_only(name):
    some = np.arange(SAMPLES) % 3 == 0
    state, _ = run(SEARCHES[name]())
    moved = state.on(WEIGHTS[some], {m.index: m.scores[some] for m in state.rivals})
    rivals = {m.index for m in moved.rivals}
    assert rivals == {m.index for m in state.rivals}
    assert all(len(m.scores) == some.sum() for m in moved.rivals)
    for _ in range(9):
        moved, proposals = moved.ask(1)
        rows = [Row(Toy().row(moved, p.genome).scores[some]) for p in proposals]
        assert all(
            screening is None or screening.next_samples().max() < some.sum()
            for screening in (moved.screen(p) for p in proposals)
        )
        moved = moved.tell(proposals, rows)
    everything = {m.index: np.full(SAMPLES, m.index % 7 / 7) for m in moved.members}
    whole = moved.on(WEIGHTS, everything)
    assert {m.index for m in whole.members} == everything.keys()
    if not whole.rivals:
        means = [m.scores.mean() for m in whole.members]
        assert means == sorted(means, reverse=True)


def test_values_that_hold_the_state_cannot_be_written():
    state, _ = run(SEARCHES["elites two"]())
    assert isinstance(state.cells, MappingProxyType)
    with pytest.raises(AttributeError):
        state.asked = 0
