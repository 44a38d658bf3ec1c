"""From mergekit's methods to ours and back: the same numbers, but where the formulas differ, and those are listed."""

import pytest

import merganser
from merganser.merging import METHODS, parameters_of
from merganser.merging.methods.mergekit import MERGEKIT, SIGNATURES, to_mergekit, translate, with_defaults


def is_of(*methods, kinds=None, **parameters):
    """A test of cases: of these methods, on these kinds of tensors, with parameters that pass their tests."""

    def holds(case):
        given = case["parameters"]
        return (
            case["method"] in methods
            and (kinds is None or case["kind"] in kinds)
            and all(name in given and test(given[name]) for name, test in parameters.items())
        )

    return holds


def thins(density):
    return min(density) < 1 if isinstance(density, list) else density < 1


TINY = ("tiny", "tinier")
DELLA, BREADCRUMBS = ("della", "della_linear"), ("breadcrumbs", "breadcrumbs_ties")

DIFFERENCES = {
    "random masks are drawn otherwise": is_of("dare_linear", "dare_ties", *DELLA, density=thins),
    "an arc is taken however near two models are": is_of("slerp", kinds=["near"]),
    "a vector of length zero lies on a line with all others": is_of(
        "slerp", "nuslerp", kinds=["still", "zero", *TINY]
    ),
    "eps is a limit here, and not added to lengths": is_of("multislerp", eps=lambda eps: eps > 1e-8),
    "models are added up, and not differences": is_of("multislerp", kinds=["lightest"]),
    "short models have directions too": is_of("karcher", kinds=["grid"], tol=lambda tol: tol > 0.1),
    "lengths have no floor": is_of(
        "model_stock", "multislerp", "karcher", kinds=["light", "lightest", *TINY]
    ),
    "changes have no floor": is_of("nearswap", kinds=TINY),
    "quantiles lie between two entries": is_of("arcee_fusion"),
    "energies have no floor": is_of("sce", kinds=["light", "lightest", *TINY]),
    "where votes cancel nothing is added": is_of("sce", kinds=["opposed", "mirror", "grid"]),
    "all of the entries are kept that equal the last one": is_of("ties", *BREADCRUMBS, kinds=["grid"]),
}
"""Why numbers of ours differ from mergekit's, and for which cases that may be."""

REFUSALS = {
    "`t` of `slerp` must be in": is_of("slerp", t=lambda t: t > 1),
    "`t` of `nearswap` must be at least 0": is_of("nearswap", t=lambda t: t < 0),
    "`weight` of `nuslerp` must be at least 0": is_of("nuslerp", weight=lambda weight: min(weight) < 0),
    "columns for vectors": is_of("nuslerp", nuslerp_row_wise=bool),
    "restores the L1 norm": is_of("ties", *BREADCRUMBS, rescale=bool, density=thins),
    "must lie in": is_of(*DELLA, density=lambda density: density == 0),
    "has one for all": is_of(*DELLA, epsilon=lambda epsilon: len(epsilon) > 1),
}
"""What has no counterpart among our methods, by words of the message."""


def merged_by_ours(case, inputs):
    name, parameters = translate(case["method"], case["parameters"])
    base, *models = inputs
    if name == "slerp":
        models.insert(0, base)
    has_base = case["base"] and name != "slerp"
    named = [{"w": tensor} for tensor in models]
    return merganser.merge(named, name, base={"w": base} if has_base else None, **parameters).read("w")


@pytest.fixture(scope="module")
def outcomes(goldens):
    """For every case, what ours makes of it: "same", "differs", or why not."""
    found = []
    for number, case in enumerate(goldens.cases):
        expected, inputs = goldens.tensors[f"merged/{number}"], goldens.inputs(case)
        scale = max(float(tensor.abs().max()) for tensor in [*inputs, expected])
        try:
            off = float((merged_by_ours(case, inputs) - expected).abs().max())
        except ValueError as error:
            found.append(str(error))
        else:
            found.append("same" if off <= 1e-6 * scale else "differs")
    return list(zip(goldens.cases, found, strict=True))


@pytest.mark.parametrize("method", MERGEKIT)
def test_what_differs_differs_for_a_reason(method, outcomes):
    of_method = [(case, outcome) for case, outcome in outcomes if case["method"] == method]
    assert "same" in {outcome for _, outcome in of_method}
    for case, outcome in of_method:
        if outcome == "differs":
            assert any(holds(case) for holds in DIFFERENCES.values()), case
        elif outcome != "same":
            assert any(words in outcome and holds(case) for words, holds in REFUSALS.items()), (case, outcome)


@pytest.mark.parametrize("reason", DIFFERENCES)
def test_every_difference_is_seen(reason, outcomes):
    assert any(outcome == "differs" and DIFFERENCES[reason](case) for case, outcome in outcomes)


@pytest.mark.parametrize("words", REFUSALS)
def test_every_refusal_is_seen(words, outcomes):
    refused = [words in outcome for case, outcome in outcomes if REFUSALS[words](case)]
    assert refused
    assert all(refused)


@pytest.mark.parametrize("method", MERGEKIT)
def test_parameters_that_are_not_given_have_mergekits_defaults(method):
    needed = {name: 0.5 for name, p in {**all_of(method)}.items() if p.is_required}
    filled = with_defaults(method, needed)
    assert filled == {name: 0.5 if p.is_required else p.default for name, p in all_of(method).items()}
    assert translate(method, {**filled, **dict.fromkeys(filled.keys() - needed)}) == translate(method, needed)


def all_of(method):
    return {**SIGNATURES[method].shared, **SIGNATURES[method].per_model}


def test_a_model_without_a_density_keeps_everything():
    _, translated = translate("dare_ties", {"weight": [1.0, 1.0], "density": [0.3, None]})
    assert translated["density"] == [0.3, 1.0]


def test_a_model_without_a_weight_is_an_error():
    with pytest.raises(ValueError, match="`ties` needs `weight`"):
        translate("ties", {"weight": [1.0, None]})


def test_weights_that_cancel_are_left_undivided():
    _, translated = translate("task_arithmetic", {"weight": [0.5, -0.5], "normalize": True})
    assert translated["normalize"] is False


def test_rescaling_has_nothing_to_do_where_nothing_is_trimmed():
    name, translated = translate("ties", {"weight": [1.0], "rescale": True})
    assert (name, translated["density"]) == ("ties", 1.0)


def test_only_what_is_thinned_out_must_agree_in_epsilon():
    _, translated = translate("della", {"weight": [1.0, 1.0], "density": [0.5, 1.0], "epsilon": [0.1, None]})
    assert translated["epsilon"] == 0.1


ODD = {"number": 0.125, "numbers": [0.25, 0.25], "count": 3, "flag": False}
"""Parameters that are nobody's defaults; the weights are equal, for karcher."""


def odd_parameters(method):
    words = {"along": "rows", "rescale": "none", "scope": "tensor"}
    return {
        p.name: words[p.name] if p.kind == "word" else ODD[p.kind] for p in parameters_of(METHODS[method])
    }


OURS_ALONE = (
    *("neuromerging", "tsv_m", "iso_c", "iso_cts", "wudi"),
    *("regmean", "regmean_plus_plus", "fisher"),
)


@pytest.mark.parametrize("method", OURS_ALONE)
def test_what_mergekit_does_not_have_is_said(method):
    with pytest.raises(ValueError, match=f"mergekit has no method like `{method}`"):
        to_mergekit(method, {})


@pytest.mark.parametrize("method", sorted(METHODS.keys() - set(OURS_ALONE)))
def test_there_and_back_nothing_is_lost(method):
    given = odd_parameters(method)
    name, shared, per_model = to_mergekit(method, given)
    assert shared.keys() <= SIGNATURES[name].shared.keys()
    assert per_model.keys() <= SIGNATURES[name].per_model.keys()
    back, parameters = translate(name, {**shared, **per_model})
    assert back == method
    implied = {"ties": {"scope"}, "karcher": {"weight"}}.get(method, set())
    assert parameters == {key: value for key, value in given.items() if key not in implied}


@pytest.mark.parametrize("rescale", ["exact", "l1"])
def test_both_ways_to_rescale_are_mergekits_rescale(rescale):
    assert to_mergekit("dare_ties", {"rescale": rescale}).shared["rescale"] is True


@pytest.mark.parametrize(
    ("method", "parameters", "why"),
    [
        ("karcher", {"weight": [1.0, 2.0]}, "weighs all models alike"),
        ("ramplus", {}, "in each tensor only"),
        ("nearswap", {}, "needs `t`"),
    ],
)
def test_what_mergekit_has_no_words_for_is_an_error(method, parameters, why):
    with pytest.raises(ValueError, match=why):
        to_mergekit(method, parameters)
