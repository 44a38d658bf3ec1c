"""A plan says what will happen, and every reason why it cannot, before a byte of data is read."""

import pytest
import torch

from merganser._errors import CheckpointError
from merganser.merging import METHODS, plan_merge
from merganser.merging.methods import parameters_of
from merganser.weights import Checkpoint, Execution, TensorSpec


class Unread:
    """A source that knows its headers, and gives no data."""

    stamps = ()

    def __init__(self, specs):
        self.specs = {name: TensorSpec(name, dtype, tuple(shape)) for name, (dtype, shape) in specs.items()}

    def view(self, name):
        raise AssertionError(f"{name} was read")

    chunks = view


def unread(source="a", config=None, tied=None, **specs):
    return Checkpoint(Unread(specs), source, config=config or {}, tied=tied or {})


PLAIN = {"model.embed_tokens.weight": ("BF16", (100, 8)), "model.layers.0.w": ("BF16", (8, 8))}
MORE = {
    **PLAIN,
    "model.layers.1.w": ("F32", (8, 8)),
    "lm_head.weight": ("BF16", (100, 8)),
    "steps": ("I64", ()),
}


def three(specs=PLAIN):
    return [unread(name, **specs) for name in "abc"]


# figures


def test_the_result_has_the_donors_tensors_in_flat_order():
    plan = plan_merge(three(MORE))
    assert [target.spec.name for target in plan.targets] == list(plan.donor)
    assert [target.spec.dtype for target in plan.targets] == ["BF16", "BF16", "F32", "BF16", "I64"]
    assert [target.is_merged for target in plan.targets] == [True, True, True, True, False]


def test_bytes_read_count_every_model_and_every_pass():
    once = 3 * (2 * 800 + 2 * 64 + 4 * 64 + 2 * 800)
    linear = plan_merge(three(MORE), "linear")
    assert (linear.bytes_in, linear.bytes_out) == (once + 3 * 8, once // 3 + 8)
    models = three(MORE)
    measured = plan_merge(models[:2], "ties", base=models[2])
    assert (measured.bytes_in, measured.bytes_out) == (2 * once + 3 * 8, once // 3 + 8)


def test_bytes_written_are_of_the_type_asked_for():
    plan = plan_merge(three(MORE), dtype="float32")
    assert plan.bytes_out == 4 * (800 + 64 + 64 + 800) + 8
    assert {target.spec.dtype for target in plan.targets} == {"F32", "I64"}


@pytest.mark.parametrize("method", sorted(m for m in METHODS if METHODS[m].rule.statistics is None))
def test_a_tensor_is_read_once_unless_the_method_measures_first(method):
    rule = METHODS[method].rule
    models = three()[: rule.models[1] or 3]
    base = unread("base", **PLAIN) if rule.base == "required" else None
    parameters = {p.name: 0.5 for p in parameters_of(METHODS[method]) if p.is_required}
    plan = plan_merge(models, method, base=base, parameters=parameters)
    assert plan.passes == (1 if plan.methods[0].scope == "none" else 2)
    assert plan.bytes_in == plan.passes * len(plan.inputs) * 2 * 864
    assert plan.bytes_out == 2 * 864


def test_groups_are_kinds_of_layers_by_treatment_and_type():
    rows = plan_merge(three(MORE), "linear").groups()
    found = {(r["part"], r["method"], r["dtype"]): (r["tensors"], r["parameters"], r["bytes"]) for r in rows}
    assert found == {
        ("embeddings", "linear", "BF16"): (1, 800, 1600),
        ("block", "linear", "BF16"): (1, 64, 128),
        ("block", "linear", "F32"): (1, 64, 256),
        ("head", "linear", "BF16"): (1, 800, 1600),
        ("module", "copy", "I64"): (1, 1, 8),
    }


def test_memory_grows_with_workers_and_chunks_and_not_with_the_model():
    large = {f"model.layers.{i}.w": ("BF16", (4096, 4096)) for i in range(64)}
    plan = plan_merge([unread("a", **large), unread("b", **large)])
    one = plan.memory(Execution(1, 1 << 16))
    assert one < 4 * 10 * (1 << 16)
    assert plan.memory(Execution(4, 1 << 16)) == 4 * one
    assert plan.memory(Execution(1, 1 << 18)) == 4 * one
    assert plan_merge(three({"steps": ("I64", ())})).memory(Execution()) == 0


def test_the_base_comes_first_and_is_the_donor():
    a, b, base = three()
    plan = plan_merge([a, b], "ties", base=base)
    assert plan.inputs == (base, a, b)
    assert plan.donor is base
    assert plan_merge([a, b], "ties", base=base, donor=b).donor is b
    assert plan_merge([a, b]).donor is a


def test_element_types_are_the_donors_whatever_the_others_have():
    wide, narrow = unread("wide", w=("F32", (3,))), unread("narrow", w=("F16", (3,)))
    assert plan_merge([wide, narrow]).targets[0].spec.dtype == "F32"
    assert plan_merge([wide, narrow], donor=narrow).targets[0].spec.dtype == "F16"


# names that stand for others


EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
APART = {**PLAIN, HEAD: ("BF16", (100, 8))}


@pytest.mark.parametrize(
    "tying",
    [{"tied": {HEAD: EMBEDDING}}, {"config": {"tie_word_embeddings": True}}],
    ids=["noted", "implied"],
)
def test_a_head_that_one_model_ties_and_another_holds_apart_is_apart(tying):
    tied, apart = unread("tied", **PLAIN, **tying), unread("apart", **APART)
    for models in ([tied, apart], [apart, tied]):
        targets = {target.spec.name: target for target in plan_merge(models).targets}
        names = {checkpoint.source: name for checkpoint, name in targets[HEAD].sources.sources}
        assert names == {"tied": EMBEDDING, "apart": HEAD}
        assert targets[HEAD].spec.shape == (100, 8)
    both = plan_merge([tied, unread("tied too", **PLAIN, **tying)])
    assert [target.spec.name for target in both.targets] == list(PLAIN)


def test_a_head_that_a_model_neither_has_nor_ties_is_missing():
    with pytest.raises(CheckpointError, match=r"'lm_head.weight' is in b, but not in a"):
        plan_merge([unread("a", **PLAIN), unread("b", **APART)])


# what does not fit


def test_a_tensor_that_a_model_lacks_is_named_with_both_models():
    lacking = unread("lacking", **{EMBEDDING: PLAIN[EMBEDDING]})
    whole = unread("whole", **PLAIN)
    for models in ([whole, lacking], [lacking, whole]):
        with pytest.raises(CheckpointError, match=r"'model.layers.0.w' is in whole, but not in lacking"):
            plan_merge(models)


def test_shapes_that_differ_are_shown():
    with pytest.raises(CheckpointError, match=r"Tensor 'w' has shape \(2, 3\) in a, but \(3, 2\) in b"):
        plan_merge([unread("a", w=("F32", (2, 3))), unread("b", w=("F32", (3, 2)))])


@pytest.mark.parametrize("swap", [False, True])
def test_numbers_in_one_model_and_something_else_in_another_are_refused(swap):
    models = [unread("a", w=("F32", (2, 3))), unread("b", w=("I8", (2, 3)))]
    with pytest.raises(CheckpointError, match=r"'w' is F32 in a, but I8.* in b.* not quantised"):
        plan_merge(models[::-1] if swap else models)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_quantised_model_is_refused_by_its_configuration(place):
    models = three()
    models[place] = unread("packed", config={"quantization_config": {"bits": 4}}, **PLAIN)
    with pytest.raises(CheckpointError, match=r"packed is quantised .* dequantise it first"):
        plan_merge(models[:2], "ties", base=models[2])


# what is not asked for properly


def refused(words, method="linear", models=2, base=False, **parameters):
    a, b, c = three()
    with pytest.raises(ValueError, match=words):
        plan_merge([a, b, a][:models], method, base=c if base else None, parameters=parameters)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("slrp", "There is no merge method `slrp`. Did you mean `slerp`?"),
        ("tie", "Did you mean `ties`?"),
        ("dare", "There is no merge method `dare`"),
        ("quux", "There is no merge method `quux`. Known are linear, slerp, "),
    ],
)
def test_an_unknown_method_is_answered_with_the_nearest_or_all(name, words):
    refused(words.replace("?", r"\?"), name)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_parameter_that_does_not_exist_is_refused_by_every_method(method):
    least = METHODS[method].rule.models[0]
    base = METHODS[method].rule.base == "required"
    refused(f"`{method}` has no parameter `quux`. It has ", method, least, base, quux=1)


@pytest.mark.parametrize(
    ("method", "given", "meant"),
    [
        ("linear", "wieght", "weight"),
        ("linear", "weights", "weight"),
        ("ties", "densty", "density"),
        ("ties", "lamda", "lambda"),
        ("della", "epsilom", "epsilon"),
    ],
)
def test_a_misspelt_parameter_is_answered_with_the_right_one(method, given, meant):
    base = METHODS[method].rule.base == "required"
    refused(f"`{method}` has no parameter `{given}`. Did you mean `{meant}`", method, base=base, **{given: 1})


def test_lambda_may_be_spelt_as_python_wants_it():
    a, b, base = three()
    for name in ("lambda", "lambda_"):
        assert plan_merge([a, b], "ties", base=base, parameters={name: 0.5}).methods[0].lambda_ == 0.5


def test_a_missing_parameter_is_asked_for_with_what_it_does():
    refused("`nearswap` needs `t`: longest step of a weight. Add it.", "nearswap", 1, base=True)


@pytest.mark.parametrize(
    ("method", "parameters", "words"),
    [
        ("slerp", {"t": 1.5}, r"`t` of `slerp` must be in \[0, 1\], but is 1.5"),
        ("slerp", {"t": -0.1}, r"must be in \[0, 1\], but is -0.1"),
        ("slerp", {"t": "half"}, "`t` of `slerp` must be a number, but is 'half'"),
        ("slerp", {"t": True}, "must be a number, but is True"),
        ("slerp", {"t": None}, "must be a number, but is None"),
        ("slerp", {"t": float("nan")}, "must be a finite number, but is nan"),
        ("slerp", {"t": float("inf")}, "must be a finite number, but is inf"),
        ("slerp", {"t": [0.5, 0.5]}, "must be a number"),
        ("linear", {"weight": [1, 2, 3]}, "one number, or one for each of 2 models, but has 3"),
        ("linear", {"weight": []}, "but has 0"),
        ("linear", {"weight": "12"}, "must be a number, but is '12'"),
        ("linear", {"weight": [1, "a"]}, "must be a number, but is 'a'"),
        ("linear", {"weight": [1, float("inf")]}, "must be a finite number"),
        ("linear", {"normalize": 1}, "`normalize` of `linear` must be true or false, but is 1"),
        ("linear", {"normalize": "yes"}, "must be true or false, but is 'yes'"),
        ("karcher", {"weight": [1, -1]}, "must be at least 0, but is -1"),
        ("karcher", {"max_iter": 0}, "must be at least 1, but is 0"),
        ("ties", {"density": [0.5, 1.1]}, r"`density` of `ties` must be in \[0, 1\], but is 1.1"),
        ("ties", {"scope": "modell"}, "must be one of model, tensor, but is 'modell'. Did you mean 'model'"),
        ("ties", {"scope": 3}, "must be one of model, tensor, but is 3"),
        ("dare_ties", {"rescale": True}, "must be one of exact, l1, none, but is True"),
        ("della", {"density": 0.05}, "chances from density − epsilon to density [+] epsilon.*-0.05 and 0.15"),
        ("della_linear", {"density": 0.95}, "0.85 and 1.05. Change .?density.? or .?epsilon"),
    ],
)
def test_values_that_a_parameter_cannot_have_are_refused(method, parameters, words):
    refused(words, method, base=METHODS[method].rule.base == "required", **parameters)


@pytest.mark.parametrize("method", ["linear", "task_arithmetic", "multislerp"])
def test_weights_that_sum_to_zero_cannot_be_normalised(method):
    flag = "normalize_weights" if method == "multislerp" else "normalize"
    base = METHODS[method].rule.base == "required"
    refused(
        f"sum to zero.*{method}|{method}.* sum to zero", method, base=base, weight=[1, -1], **{flag: True}
    )


def test_weights_that_are_all_zero_have_no_mean_on_a_sphere():
    refused("`karcher` needs at least one weight above zero", "karcher", weight=0)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_refuses_a_number_of_models_that_it_does_not_take(method):
    least, most = METHODS[method].rule.models
    base = METHODS[method].rule.base == "required"
    parameters = {p.name: 0.5 for p in parameters_of(METHODS[method]) if p.is_required}
    words = "exactly" if least == most else "at least"
    refused(f"`{method}` takes {words} {least} model", method, least - 1, base, **parameters)
    if most is not None:
        refused(f"`{method}` takes {words} {most} model.* but was given {most + 1}", method, most + 1, base)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_asks_for_its_base_and_refuses_one_it_does_not_use(method):
    rule = METHODS[method].rule
    if rule.base == "required":
        refused(f"`{method}` works on differences from a base model, but none was given", method)
    elif rule.base == "refused":
        refused(f"`{method}` takes no base model. Name it among the models", method, base=True)
    else:
        for base in (None, unread("base", **PLAIN)):
            assert plan_merge(three()[:2], method, base=base).base is base


def test_an_element_type_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"`dtype` must be one of float64, float32, .*, but is 'int8'"):
        plan_merge(three(), dtype="int8")


def test_parameters_are_kept_as_numbers_for_each_model():
    plan = plan_merge(three(), "linear", parameters={"weight": 2})
    assert plan.methods[0].weight == (2.0, 2.0, 2.0)
    assert plan_merge(three(), parameters={"weight": (1, 2, 3)}).methods[0].weight == (1.0, 2.0, 3.0)


def test_planning_reads_nothing_but_merging_does():
    plan = plan_merge(three())
    checkpoint, name = plan.targets[0].sources.sources[0]
    with pytest.raises(AssertionError, match="was read"):
        checkpoint.read(name)


def test_plans_of_tensors_in_memory_are_the_same():
    tensors = {"w": torch.zeros(2, 3), "steps": torch.tensor([1, 2])}
    plan = plan_merge([Checkpoint.from_tensors(tensors), Checkpoint.from_tensors(tensors)])
    assert (plan.bytes_in, plan.bytes_out) == (2 * (24 + 16), 24 + 16)
