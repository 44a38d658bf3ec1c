"""Genes become merges: bounds, groups, models, and what is said of weights that are searched."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from merganser.evolution import CmaEs, Domain, Genes, Grid, Grouping, RandomSearch, RecipeSpace, Row
from merganser.merging import METHODS, parameters_of, plan_blueprint
from merganser.weights import Checkpoint

NAMES = (
    "wte.weight",
    "h.0.attn.weight",
    "h.0.mlp.weight",
    "h.1.attn.weight",
    "h.1.mlp.weight",
    "head.weight",
)
PARAMETERS = {name: {p.name: p for p in parameters_of(method)} for name, method in METHODS.items()}
PAPER = {"weight": (0.0, 1.0), "density": (0.0, 1.0)}


def models(count):
    rng = np.random.default_rng(0)
    return [
        Checkpoint.from_tensors({n: rng.standard_normal((3, 4), np.float32) for n in NAMES})
        for _ in range(count)
    ]


def space(method="dare_ties", searched=PAPER, count=3, base="base", **options):
    digests = [f"model {k}" for k in range(count)]
    return RecipeSpace(Genes(method, searched, **options), digests, 72, base=base, seed=5)


def by_layer(**options):
    return space(grouping=Grouping.by_layer(NAMES), **options)


def test_the_papers_genome_has_a_weight_and_a_density_for_each_layer_and_model():
    blocks = [f"model.layers.{i}.mlp.weight" for i in range(32)]
    names = ["model.embed_tokens.weight", *blocks, "model.norm.weight", "lm_head.weight"]
    assert len(space(grouping=Grouping.by_layer(names)).genes) == 204
    assert len(space().genes) == 6


def test_a_search_begins_in_the_middle_with_a_step_of_a_sixth():
    found = by_layer()
    assert found.start.tolist() == [0.5] * 24
    assert found.step == pytest.approx(1 / 6)
    state = CmaEs.start(found, np.ones(4), seed=0)
    assert state.engine.sp.popsize == 4 + int(3 * np.log(24))


@given(st.integers(0, 99))
def test_every_tensor_of_every_model_gets_the_values_of_its_genes(seed):
    found = by_layer()
    vector = np.random.default_rng(seed).random(len(found.genes))
    plan = plan_blueprint(found.decode(vector).blueprint, models(4))
    values = {(g.parameter, g.group, g.model): x for g, x in zip(found.genes, vector, strict=True)}
    for target in plan.targets:
        group = found.grouping.of(target.spec.name)
        for name in ("weight", "density"):
            expected = [values[name, group, model] for model in range(3)]
            assert getattr(target.method, name) == pytest.approx(expected)


def test_bounds_may_differ_and_be_negative():
    found = space("ties", {"weight": (-1.0, 2.0), "density": (0.1, 0.3), "lambda": None}, count=1)
    low, high = (found.decode(np.full(3, x)).blueprint for x in (0.0, 1.0))
    bounds = [[plan_blueprint(b, models(2)).methods[0] for b in (low, high)][i] for i in (0, 1)]
    assert [(m.weight, m.density, m.lambda_) for m in bounds] == [
        ((-1.0,), (0.1,), 0.0),
        ((2.0,), (0.3,), 2.0),
    ]


@pytest.mark.parametrize("method", ["linear", "ties", "della", "multislerp"])
def test_weights_that_are_searched_are_not_normalised_unless_asked_for(method):
    base = None if method == "linear" else "base"
    flag = next(name for name in PARAMETERS[method] if name.startswith("normalize"))

    def flag_of(**options):
        found = space(method, {"weight": None}, 2, base, **options)
        plan = plan_blueprint(found.decode(found.start).blueprint, models(2 if base is None else 3))
        return getattr(plan.methods[0], flag)

    assert PARAMETERS[method][flag].default is True
    assert flag_of() is False
    assert flag_of(fixed={flag: True}) is True


def test_what_is_not_searched_keeps_the_methods_defaults():
    found = space("ties", {"lambda": None})
    [method] = plan_blueprint(found.decode(found.start).blueprint, models(4)).methods
    assert method.normalize is True
    assert method.density == (0.2, 0.2, 0.2)


def test_one_gene_may_stand_for_all_models_and_fixed_parameters_may_have_one_value_each():
    found = space(searched={"weight": None}, shared=["weight"], fixed={"density": [0.1, 0.2, 0.3]})
    assert len(found.genes) == 1
    [method] = plan_blueprint(found.decode(np.array([0.25])).blueprint, models(4)).methods
    assert method.weight == (0.25, 0.25, 0.25)
    assert method.density == (0.1, 0.2, 0.3)


def test_the_first_candidates_are_the_parents_and_the_untuned_merge():
    found = space("ties", {"density": None}, 2)
    assert [seed.digest for seed in found.seeds[:2]] != [found.untuned.digest] * 2
    assert found.seeds[2] is found.untuned
    [method] = plan_blueprint(found.untuned.blueprint, models(3)).methods
    assert method == METHODS["ties"](weight=(1.0, 1.0), density=(0.2, 0.2))
    assert len(space("nearswap", {"t": (0.0, 1.0)}, 1).seeds) == 1


def test_a_genome_is_named_by_its_models_and_its_merge():
    found = by_layer()
    one, same = found.decode(found.start), found.decode(found.start)
    assert one == same
    assert len({one, same}) == 1
    assert len(bytes.fromhex(one.digest)) == 16
    others = (found.decode(found.start * 0.9), space().decode(np.full(6, 0.5)), by_layer(count=2).untuned)
    assert len({one.digest, *(each.digest for each in others)}) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"searched": {"densty": None}}, "no parameter `densty`. Did you mean `density`"),
        ({"searched": {}}, "Nothing of `dare_ties` is to be searched"),
        ({"searched": {"density": (0.5, 1.5)}}, r"`density` must be finite and ascend within \[0, 1\]"),
        ({"searched": {"weight": (1.0, 0.0)}}, r"`weight` must be finite and ascend"),
        ({"searched": {"weight": (0.0, np.inf)}}, r"`weight` must be finite"),
        ({"searched": {"rescale": (0.0, 1.0)}}, "`rescale` is no number, so it has no bounds"),
        ({"searched": {"weight": None}, "fixed": {"weight": 1.0}}, "`weight` is both searched and fixed"),
        ({"shared": ["lambda"]}, "`lambda` of `dare_ties` has one value for all models anyway"),
        ({"fixed": {"lambda": "much"}}, "`lambda` of `dare_ties` must be a number"),
        ({"fixed": {"lamda": 1.0}}, "Did you mean `lambda`"),
        ({"method": "slerp", "searched": {"t": None}}, "`slerp` takes exactly 2 models, but was given 3"),
        ({"method": "regmean", "searched": {"alpha": None}}, "`regmean` merges by statistics"),
    ],
)
def test_misuse_is_told(options, message):
    with pytest.raises(ValueError, match=message):
        space(**options)


SEARCHED = {name: ps for name, ps in PARAMETERS.items() if not METHODS[name].rule.statistics}


@pytest.mark.parametrize(("method", "p"), [(m, p) for m, ps in SEARCHED.items() for p in ps.values()])
def test_every_parameter_of_every_method_has_default_bounds_that_it_accepts(method, p):
    base = None if METHODS[method].rule.base == "refused" else "base"
    least = METHODS[method].rule.models[0]
    found = space(method, {p.name: None}, least, base)
    for x in (0.3, 0.5):
        plan_blueprint(
            found.decode(np.full(len(found.genes), x)).blueprint, models(least + (base is not None))
        )


def test_whole_numbers_and_choices_have_equal_shares_of_their_coordinate():
    xs = np.linspace(0, 1, 1000)
    for domain, values in (
        (Domain(2, 5, is_whole=True), [2, 3, 4, 5]),
        (Domain(choices=("a", "b")), ["a", "b"]),
    ):
        found = [domain.at(x) for x in xs]
        assert {value: found.count(value) for value in values} == dict.fromkeys(values, 1000 // len(values))
        assert [domain.at(x) for x in domain.axis(100)] == values


def walk(state, children=10_000):
    proposals = []
    while not state.exhausted and len(proposals) < children:
        state, [proposal] = state.ask(1)
        state = state.tell([proposal], [Row(np.zeros(3))])
        proposals.append(proposal)
    return state, proposals


def test_a_grid_tries_all_values_of_one_gene_and_every_pair_of_two():
    state, proposals = walk(Grid.start(space("ties", {"lambda": (0.0, 2.0)}), np.ones(3), steps=5))
    settings = [p.genome.blueprint.settings["lambda"] for p in proposals[4:]]
    assert [s.cases[0].value for s in settings] == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert state.ask(1)[1] == []
    two = space("ties", {"lambda": None, "density": None, "scope": None}, shared=["density"])
    _, proposals = walk(Grid.start(two, np.ones(3), steps=10))
    assert len({p.digest for p in proposals[4:]}) == 3 * 3 * 2
    with pytest.raises(ValueError, match="there are 6 numbers to search"):
        Grid.start(space(), np.ones(3))


def test_random_candidates_are_keyed_by_their_index():
    start = RandomSearch.start(by_layer(), np.ones(3), seed=4)
    _, proposals = walk(start, 12)
    assert [p.digest for p in start.ask(12)[1]] == [p.digest for p in proposals]
    assert len({p.digest for p in proposals}) == 12


def test_a_generation_whose_candidates_all_score_the_same_is_counted():
    state, _ = walk(CmaEs.start(space(), np.ones(3), seed=0, population=6), 4 + 12)
    assert state.plateaus == 2
