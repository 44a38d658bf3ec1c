"""Merges as mergekit's YAML: read again, they are what they were."""

import dataclasses
from pathlib import Path

import pytest
import yaml

from merganser.interop.mergekit import parse_mergekit, to_yaml
from merganser.merging import (
    METHODS,
    Blueprint,
    Case,
    Ingredient,
    MergeRecipe,
    Module,
    Setting,
    Slice,
    Source,
    plan_blueprint,
    plan_merge,
)
from merganser.merging.methods import parameters_of
from merganser.merging.vocabulary import ModelRow, RowOf, TokenRule, VocabularyRules, ZeroRow
from merganser.weights import open_checkpoint

GOLDENS = Path(__file__).parent / "goldens"
CASES = sorted(path.stem for path in GOLDENS.glob("*.yaml") if path.stem != "empty_list_falls_through")
MODELS = [str(GOLDENS / "models" / name) for name in ("base", "a", "b", "c", "d")]


@pytest.fixture(scope="module")
def checkpoints():
    return [open_checkpoint(model) for model in MODELS]


def renamed(value, models):
    """The plain form of a blueprint, with references instead of numbers."""
    if isinstance(value, list):
        return [renamed(each, models) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: models[each]
        if key in ("base", "donor", "model", "source") and isinstance(each, int)
        else renamed(each, models)
        for key, each in value.items()
    }


def read(text):
    [config] = parse_mergekit(text)
    return config


def again(blueprint, models=MODELS):
    """A merge, written and read."""
    return read(to_yaml(blueprint, models))


def assert_same(blueprint, models, config):
    assert renamed(config.blueprint.to_json(), config.models) == renamed(blueprint.to_json(), models)


def comments(text):
    return [line for line in text.splitlines() if line.startswith("#")]


# mergekit's own


@pytest.mark.parametrize("case", CASES)
def test_what_was_read_is_written_as_it_was(case):
    text = (GOLDENS / f"{case}.yaml").read_text()
    config = read(text)
    exact = dataclasses.replace(config.blueprint, formulas="mergekit")
    written = to_yaml(exact, config.models)
    assert_same(config.blueprint, config.models, read(written))
    plain = yaml.safe_load(written)
    assert plain["merge_method"] == yaml.safe_load(text)["merge_method"]
    assert "restores" not in written
    assert "gradient" not in written


def test_vocabularies_and_templates_come_back():
    rules = (
        TokenRule("<one>", RowOf(2, "<two>"), True),
        TokenRule("null", RowOf(3, token_id=0)),
        TokenRule("é", ZeroRow()),
        TokenRule("~", ModelRow(1)),
    )
    template = "{{ bos_token }}\n{%- for m in messages %}\n  # {{ m['content'] }}: \t'x'\n{%- endfor %}\n"
    for source in ("union", "base", 2):
        blueprint = Blueprint.plain(
            "task_arithmetic",
            [1, 2],
            {"weight": 1},
            base=0,
            dialect="mergekit",
            vocabulary=VocabularyRules(source, 8, rules),
            chat_template=template,
        )
        assert_same(blueprint, MODELS, again(blueprint))


def test_models_may_have_any_name():
    names = ["~", "1e5", "org/b@main+./c: d", "x y '#", "- e"]
    blueprint = Blueprint.plain("linear", range(5), {"weight": 1}, dialect="mergekit")
    assert again(blueprint, names).models == tuple(names)


# ours


OTHER = {
    "weight": (0.25, 0.75),
    "density": (0.3, 0.6),
    "gamma": (0.02, 0.03),
    "epsilon": 0.05,
    "normalize": True,
    "normalize_weights": False,
    "lambda": 1.5,
    "t": 0.25,
    "max_iter": 7,
    "tol": 1e-6,
    "eps": 1e-5,
    "select_topk": 0.5,
    "r": 0.3,
    "alpha": 0.4,
    "along": "rows",
    "rescale": "none",
    "scale": (0.5,),
}


def parameters(method):
    known = [p.name for p in parameters_of(METHODS[method])]
    chosen = {name: OTHER[name] for name in known if name in OTHER}
    if method == "ramplus":
        chosen["scope"] = "tensor"
    if method == "karcher":
        chosen["weight"] = 2.0
    return chosen


def merged(method, parameters, checkpoints):
    """The plan of a merge of ours, and the plan of what mergekit's file says of it."""
    rule = METHODS[method].rule
    count = rule.models[1] or 2
    base = checkpoints[0] if rule.base != "refused" else None
    plan = plan_merge(checkpoints[1 : 1 + count], method, base=base, parameters=parameters)
    text = to_yaml(plan.blueprint, [model.source for model in plan.inputs])
    config = read(text)
    return plan, plan_blueprint(config.blueprint, [open_checkpoint(model) for model in config.models]), text


OURS_ALONE = (
    *("neuromerging", "tsv_m", "iso_c", "iso_cts", "wudi"),
    *("regmean", "regmean_plus_plus", "fisher"),
)


@pytest.mark.parametrize("method", sorted(METHODS.keys() - set(OURS_ALONE)))
def test_a_merge_of_ours_read_again_is_the_same_merge(method, checkpoints):
    for chosen in (parameters(method), {"t": 0.1} if method == "nearswap" else {}):
        if method == "ramplus":
            chosen = {**chosen, "scope": "tensor"}
        plan, back, _ = merged(method, chosen, checkpoints)
        assert back.methods == tuple(_comparable(m) for m in plan.methods)
        assert [m.source for m in back.inputs] == [m.source for m in plan.inputs]
        assert back.donor.source == plan.donor.source


def _comparable(method):
    """A method as mergekit can say it: karcher's equal weights are left out there."""
    return dataclasses.replace(method, weight=(1.0, 1.0)) if type(method).__name__ == "Karcher" else method


def cases(*pairs):
    return Setting(tuple(Case(value, chosen) for chosen, value in pairs))


EVERYWHERE = Setting.of

STRUCTURED = {
    "slices with settings at every level": Blueprint(
        "ties",
        (
            Module(
                (
                    Slice(
                        (
                            Source(1, (0, 2), {"weight": cases(("mlp", (0.0, 1.0)))}),
                            Source(2, (2, 4)),
                            Source(0, (0, 2)),
                        ),
                        settings={"weight": cases(("self_attn", 0.5)), "normalize": EVERYWHERE(False)},
                    ),
                    Slice((Source(3, (1, 3), {"density": EVERYWHERE(0.9)}), Source(0, (1, 3)))),
                ),
                settings={"weight": cases(("norm", 0.1)), "lambda": cases(("mlp", 2.0))},
            ),
        ),
        {"weight": cases(("norm", 0.7), ("lm_head", 3.0)), "density": EVERYWHERE((0.2, 0.4))},
        base=0,
    ),
    "a base that is not listed": Blueprint(
        "task_arithmetic", (Module((Slice((Source(1, (0, 4)), Source(2, (0, 4)))),)),), base=0
    ),
    "a base for each slice": Blueprint(
        "task_arithmetic",
        (Module((Slice((Source(1, (0, 1)), Source(0, (0, 1))), 0), Slice((Source(1, (1, 2)), Source(2, (0, 1))), 2))),),
        base=0,
    ),
    "slerps with one first model": Blueprint(
        "slerp",
        (Module((Slice((Source(1, (0, 2)), Source(2, (0, 2)))), Slice((Source(1, (1, 3)), Source(0, (0, 2)))))),),
        {"t": cases(("mlp", (0.0, 1.0)))},
        donor=1,
    ),
    "slerps with several": Blueprint(
        "slerp",
        (Module((Slice((Source(1, (0, 2)), Source(2, (0, 2)))), Slice((Source(2, (1, 3)), Source(0, (0, 2)))))),),
        donor=1,
    ),
    "slerps in a module": Blueprint(
        "slerp",
        (
            Module(
                (Slice((Source(1, (0, 2)), Source(2, (0, 2)))), Slice((Source(2, (1, 3)), Source(0, (0, 2))))),
                "layers",
            ),
        ),
        donor=1,
    ),
    "words in a gradient": Blueprint(
        "nuslerp",
        (Module((Slice((Source(1), Source(2))),)),),
        {"along": cases(("mlp", ("tensor", "rows")), ("norm", "rows"))},
        base=0,
    ),
    "settings of what has no place in mergekit": Blueprint(
        "linear",
        (
            Module(
                (Slice((Source(1), Source(2)), None, {"weight": cases(("q_", 2.0))}),),
                settings={"weight": cases(("k_", 3))},
            ),
        ),
        {"weight": cases(("v_", 4))},
        donor=1,
    ),
    "modules": Blueprint(
        "linear",
        (
            Module(
                (Slice((Source(1), Source(2, None, {"weight": EVERYWHERE(0.2)}))),),
                "layers",
                {"weight": EVERYWHERE(3)},
            ),
        ),
        donor=1,
    ),
}  # fmt: skip


def laid_out(plan):
    return [
        (t.spec, t.method, t.has_base, [(model.source, name) for model, name in t.sources.sources])
        for t in plan.targets
    ]


@pytest.mark.parametrize("blueprint", STRUCTURED.values(), ids=STRUCTURED)
def test_a_blueprint_of_ours_read_again_makes_the_same_plan(blueprint, checkpoints):
    config = again(blueprint)
    back = plan_blueprint(config.blueprint, [open_checkpoint(model) for model in config.models])
    plan = plan_blueprint(blueprint, checkpoints)
    assert laid_out(back) == laid_out(plan)
    assert back.donor.source == plan.donor.source


def test_what_mergekit_takes_for_granted_is_not_written():
    assert yaml.safe_load(to_yaml(Blueprint.plain("linear", [0, 1]), "ab")) == {
        "merge_method": "linear",
        "models": [{"model": "a"}, {"model": "b"}],
        "parameters": {"weight": 1.0},
    }


@pytest.mark.parametrize(
    ("dtype", "written"),
    [
        (None, {}),
        ("float32", {"dtype": "float32"}),
        ("float64", {"dtype": "float64"}),
        ("bfloat16", {"dtype": "float32", "out_dtype": "bfloat16"}),
    ],
)
def test_half_precision_is_asked_for_in_the_result_only(dtype, written):
    blueprint = Blueprint.plain("linear", [0], {"weight": 1}, dialect="mergekit", dtype=dtype)
    found = yaml.safe_load(to_yaml(blueprint, "a"))
    assert {key: value for key, value in found.items() if "dtype" in key} == written
    assert again(blueprint).blueprint.dtype == dtype


# what differs


@pytest.mark.parametrize(
    ("method", "parameters", "words"),
    [
        ("linear", {}, []),
        ("ties", {}, ["trims each tensor"]),
        ("ties", {"scope": "tensor"}, []),
        ("dare_ties", {}, ["other random numbers", "L1 norms"]),
        ("della", {"rescale": "l1"}, ["other random numbers"]),
        ("model_stock", {}, ["light fine-tunes"]),
        ("sce", {}, ["same weight"]),
    ],
)
def test_comments_say_what_mergekit_does_otherwise(method, parameters, words):
    has_base = METHODS[method].rule.base == "required"
    text = to_yaml(
        Blueprint.plain(method, [1, 2], parameters, base=0 if has_base else None, donor=int(not has_base)),
        MODELS,
    )
    assert len(comments(text)) == len(words)
    assert all(word in comment for word, comment in zip(words, comments(text), strict=True))


def test_comments_are_for_what_differs_from_the_formulas_asked_for():
    mergekits = Blueprint.plain(
        "dare_ties", [1], {"weight": 1}, base=0, dialect="mergekit", formulas="mergekit"
    )
    assert comments(to_yaml(mergekits, MODELS)) == ["# mergekit draws other random numbers."]
    papers = dataclasses.replace(mergekits, formulas="papers")
    assert len(comments(to_yaml(papers, MODELS))) == 2
    kept = dataclasses.replace(papers, settings={**papers.settings, "rescale": EVERYWHERE(False)})
    assert len(comments(to_yaml(kept, MODELS))) == 1
    graded = Blueprint("linear", papers.modules, {"weight": EVERYWHERE((0.0, 1.0))}, donor=1)
    [comment] = comments(to_yaml(graded, MODELS))
    assert "first value of a gradient" in comment


def test_another_donor_than_mergekits_is_said():
    [comment] = comments(to_yaml(Blueprint.plain("linear", [0, 1], donor=1), ["a", "b"]))
    assert comment.endswith("where Merganser takes b's.")


@pytest.mark.parametrize(
    ("blueprint", "words"),
    [
        (Blueprint.plain("karcher", [0, 1], {"weight": [1, 2]}), "mergekit weighs all models alike"),
        (
            Blueprint("karcher", (Module((Slice((Source(0), Source(1, None, {"weight": EVERYWHERE(2)}))),)),)),
            "mergekit weighs all models alike",
        ),
        (Blueprint.plain("ramplus", [1, 2], base=0), "Set `scope` to tensor"),
        (Blueprint.plain("nearswap", [1], base=0), "needs `t`"),
        (Blueprint.plain("linear", [0, 0]), "merged with itself"),
        (Blueprint.plain("linear", [0, 7]), "speaks of model 7, but 5 were named"),
        (
            Blueprint("linear", (Module((Slice((Source(0),)), Slice((Source(1, (0, 2)),)))),)),
            "mergekit wants to know which ones",
        ),
        (Blueprint("ties", (Module((Slice((Source(1),), 2),)),), base=0), "have a base of their own"),
        (Blueprint("linear", (Module((Slice((Source(0),)),)), Module((Slice((Source(0),)),), "x"))), "needs a name"),
        (Blueprint.plain("linear", (0, 1), space="core", as_adapter=True), "makes an adapter, or cuts"),
        (Blueprint.plain("linear", (0, 1), space="core", rank=2), "makes an adapter, or cuts"),
    ],
)  # fmt: skip
def test_what_mergekit_cannot_say_is_an_error(blueprint, words):
    with pytest.raises(ValueError, match=words):
        to_yaml(blueprint, MODELS)


# recipes


def linear(*ingredients):
    blueprint = Blueprint.plain("linear", range(len(ingredients)), {"weight": 1}, dialect="mergekit")
    return MergeRecipe(blueprint, ingredients)


def test_models_that_were_made_on_the_way_are_documents_of_their_own():
    a, b = Ingredient("a", "1"), Ingredient("b", "2")
    inner = Ingredient(None, "3", recipe=linear(a, b))
    middle = Ingredient(None, "4", recipe=linear(inner, a))
    configs = parse_mergekit(to_yaml(linear(inner, middle, b)))
    assert [(config.name, config.models) for config in configs] == [
        ("stage-1", ("a", "b")),
        ("stage-2", ("stage-1", "a")),
        (None, ("stage-1", "stage-2", "b")),
    ]
    assert parse_mergekit(to_yaml(linear(inner, b), ["anything", "c"]))[-1].models == ("stage-1", "c")


def test_a_merge_in_core_space_is_written_with_a_word_about_it():
    text = to_yaml(Blueprint.plain("linear", (0, 1), space="core"), ["base+a", "base+b"])
    assert text.startswith("# mergekit merges adapters as whole tensors")
    assert "base+b" in text


def test_a_model_that_was_only_in_memory_must_be_named():
    recipe = linear(Ingredient(None, "1"), Ingredient("b", "2"))
    with pytest.raises(ValueError, match="only in memory"):
        to_yaml(recipe)
    with pytest.raises(ValueError, match="names 2 models, but 1 were given"):
        to_yaml(recipe, ["a"])
    assert read(to_yaml(recipe, ["a", "c"])).models == ("a", "c")
