"""Adapters merged in core space are what whole tensors give, for every method that says so."""

import dataclasses

import pytest
import torch

from merganser import materialise, merge, read_recipe, verify
from merganser.merging import METHODS, Engine, explain, plan_merge, plan_recipe
from merganser.weights import Checkpoint, Execution, open_adapter, open_checkpoint

from .conftest import DOWN, EMBED, SHAPES, UP, Q, factors, random

CASES = [
    ("linear", {}),
    ("linear", {"weight": [0.2, 0.5, 0.3], "normalize": False}),
    ("task_arithmetic", {"weight": [1.0, -0.5, 2.0], "lambda": 0.7}),
    ("tsv_m", {}),
    ("tsv_m", {"alpha": 0.4}),
    ("iso_c", {}),
    ("iso_cts", {}),
    ("iso_cts", {"common": 0.1}),
    ("wudi", {}),
    ("wudi", {"ridge": 1.0}),
    ("model_stock", {}),
    ("multislerp", {}),
]
"""Every method that commutes with changes of basis."""


def on(base, adapters):
    return [f"{base}+{adapter}" for adapter in adapters]


def has_base(method):
    return METHODS[method].rule.base != "refused"


def full_and_core(base, adapters, method, **parameters):
    models = on(base, adapters)
    given = base if has_base(method) else None
    return (merge(models, method, base=given, space=space, **parameters) for space in ("full", "core"))


@pytest.mark.parametrize(("method", "parameters"), CASES, ids=str)
def test_every_tensor_is_that_of_the_full_merge(base, adapters, method, parameters):
    full, core = full_and_core(base, adapters, method, **parameters)
    origin = open_checkpoint(base)
    moved = 0
    for name in SHAPES:
        change = full.read(name) - origin.read(name)
        torch.testing.assert_close(core.read(name), full.read(name), rtol=1e-9, atol=1e-11)
        moved += change.norm() > 1e-3
    assert moved == (2 if method == "model_stock" else 5)  # which keeps the base where only one moves


@pytest.mark.parametrize("along", [{}, {"weight": [0.3, 0.7]}])
def test_two_models_on_an_arc_are_those_of_the_full_merge(base, adapters, along):
    full, core = full_and_core(base, adapters[:2], "nuslerp", **along)
    for name in SHAPES:
        torch.testing.assert_close(core.read(name), full.read(name), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("ranks", [(30, 30), (1, 1), (40,), (24, 3, 3, 3)], ids=str)
@pytest.mark.parametrize("method", ["tsv_m", "iso_c", "iso_cts", "wudi"])
def test_ranks_above_the_sides_and_single_adapters_are_exact_too(base, write, method, ranks):
    adapters = [write(f"r{i}", factors(UP, rank, i)) for i, rank in enumerate(ranks)]
    full, core = full_and_core(base, adapters, method)
    torch.testing.assert_close(core.read(f"{UP}.weight"), full.read(f"{UP}.weight"), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    "method", [n for n, m in METHODS.items() if n not in dict(CASES) and m.rule.statistics is None]
)
def test_methods_that_look_at_single_weights_go_the_full_way_unless_told(base, adapters, method):
    least, most = METHODS[method].rule.models
    models = [open_checkpoint(each) for each in on(base, adapters)[: max(least, min(3, most or 3))]]
    needed = {"nearswap": {"t": 0.1}}.get(method, {})
    given = open_checkpoint(base) if has_base(method) else None
    if METHODS[method].rule.base == "optional" and method == "nuslerp":
        given = None
    plan = plan_merge(models, method, base=given, parameters=needed)
    assert plan.cores is None
    assert plan.blueprint.space == "full"


def test_a_linear_sum_that_moves_the_base_goes_the_full_way(base, adapters):
    models = [open_checkpoint(each) for each in on(base, adapters)]
    plan = plan_merge(models, "linear", parameters={"weight": 1.0, "normalize": False})
    assert plan.cores is None


def test_rows_on_an_arc_go_the_full_way(base, adapters):
    models = [open_checkpoint(each) for each in on(base, adapters)]
    plan = plan_merge(models, "model_stock", base=open_checkpoint(base), parameters={"along": "rows"})
    assert plan.cores is None


@pytest.mark.parametrize("method", ["ties", "dare_ties", "della", "breadcrumbs", "sce", "ram"])
def test_others_merge_cores_if_told_and_stay_in_their_span(base, adapters, method):
    core = merge(on(base, adapters), method, base=base, space="core")
    delta = core.read(f"{UP}.weight") - open_checkpoint(base).read(f"{UP}.weight")
    singular = torch.linalg.svdvals(delta)
    assert singular[0] > 1e-3
    assert singular[5] < 1e-12  # of 24: the ranks are 4 and 1


def test_ties_on_cores_is_ties_on_the_cores(base, write):
    """One direction each, the same for both: the cores are two numbers, and the larger keeps its sign."""
    shared = factors(UP, 1, 1)
    halved = {name: -0.5 * tensor if "lora_B" in name else tensor for name, tensor in shared.items()}
    adapters = [write("one", shared), write("other", halved)]
    core = merge(on(base, adapters), "ties", base=base, space="core", density=1.0)
    alone = open_checkpoint(f"{base}+{adapters[0]}")
    torch.testing.assert_close(core.read(f"{UP}.weight"), alone.read(f"{UP}.weight"), rtol=1e-9, atol=1e-11)


def test_threads_and_blocks_change_no_bit(base, adapters):
    models = [open_checkpoint(each) for each in on(base, adapters)]
    found = []
    for execution in (Execution(1, 1 << 18), Execution(3, 64)):
        plan = plan_merge(models, "tsv_m", dtype="float32")
        merged = Engine(plan, execution).in_memory({})
        found.append({name: merged.read(name) for name in merged})
    for name, tensor in found[0].items():
        assert tensor.equal(found[1][name])


def test_the_base_is_found_where_adapters_name_it(base, adapters):
    explicit = merge(on(base, adapters), "tsv_m")
    alone = merge(adapters, "tsv_m", base=base)
    for name in SHAPES:
        assert explicit.read(name).equal(alone.read(name))


def test_a_base_for_the_adapters_alone_is_no_base_for_a_method_that_takes_none(base, adapters):
    alone = merge(adapters, "linear", base=base)
    for name in SHAPES:
        assert alone.read(name).equal(merge(on(base, adapters), "linear").read(name))


def test_what_no_adapter_changes_is_the_bases_to_the_last_bit(base, adapters):
    merged = merge(adapters, "multislerp", base=base)
    for name in ("model.norm.weight", f"{Q}.bias", "lm_head.weight"):
        assert merged.read(name).equal(open_checkpoint(base).read(name))


def test_a_module_that_was_saved_whole_is_merged_whole(base, adapters, write):
    head = {"lm_head.weight": random(99, SHAPES["lm_head.weight"])}
    saved = write("saved", head | factors(Q, 2, 9), modules_to_save=["lm_head"])
    full, core = full_and_core(base, [adapters[0], saved], "tsv_m")
    for name in SHAPES:
        torch.testing.assert_close(core.read(name), full.read(name), rtol=1e-9, atol=1e-11)
    assert not core.read("lm_head.weight").allclose(open_checkpoint(base).read("lm_head.weight"), atol=1e-3)


def test_norms_of_rows_and_biases_are_merged_whole(base, adapters, write):
    dora = factors(Q, 2, 9) | {f"{Q}.lora_magnitude_vector": random(7, (24,)).abs() + 1}
    biased = factors(UP, 2, 10) | {f"{Q}.base_layer.bias": random(8, (24,))}
    others = [adapters[0], write("dora", dora, use_dora=True), write("biased", biased, bias="lora_only")]
    full, core = full_and_core(base, others, "task_arithmetic")
    for name in SHAPES:
        torch.testing.assert_close(core.read(name), full.read(name), rtol=1e-9, atol=1e-11)


def test_layers_stored_the_other_way_round_are_exact_too(base, write):
    """As GPT-2 stores them: (in, out), square or not."""
    flipped = [
        write(f"f{i}", factors(DOWN, 2, i, shape=(40, 24)) | factors(Q, 2, i + 5), fan_in_fan_out=True)
        for i in range(2)
    ]
    full, core = full_and_core(base, flipped, "wudi")
    for name in (f"{Q}.weight", f"{DOWN}.weight"):
        torch.testing.assert_close(core.read(name), full.read(name), rtol=1e-9, atol=1e-11)


def test_a_base_in_memory_serves_as_well(base, adapters):
    held = open_checkpoint(base)
    memory = Checkpoint.from_tensors({name: held.read(name) for name in held})
    models = [open_adapter(memory, adapter) for adapter in adapters]
    merged = merge(models, "tsv_m")
    expected = merge(adapters, "tsv_m", base=base)
    for name in SHAPES:
        assert merged.read(name).equal(expected.read(name))


def test_the_recipe_says_where_and_leads_back(base, adapters, tmp_path):
    merge(adapters, "iso_c", base=base, out=tmp_path / "out")
    recipe = read_recipe(tmp_path / "out" / "recipe.json")
    assert recipe.blueprint.space == "core"
    assert verify(tmp_path / "out").is_same
    assert materialise(recipe).digest == open_checkpoint(tmp_path / "out").digest
    merge(adapters, "iso_c", base=base, out=tmp_path / "full", space="full")
    assert "space" not in (tmp_path / "full" / "recipe.json").read_text()
    assert read_recipe(tmp_path / "full" / "recipe.json").blueprint.space == "full"
    assert verify(tmp_path / "full").is_same


def test_a_merge_that_was_stopped_goes_on(base, adapters, tmp_path):
    class Stop(Exception):
        pass

    def stop(step):
        if step.done > step.total / 2:
            raise Stop

    with pytest.raises(Stop):
        merge(adapters, "tsv_m", base=base, out=tmp_path / "out", shard_size=9000, progress=stop, workers=1)
    assert not (tmp_path / "out").exists()
    written = [file.name for folder in tmp_path.glob(".*") for file in folder.glob("*.safetensors")]
    assert written
    merged = merge(adapters, "tsv_m", base=base, out=tmp_path / "out", shard_size=9000)
    assert merged.digest == merge(adapters, "tsv_m", base=base).digest


def test_an_account_is_that_of_the_full_merge(base, adapters):
    models, origin = [open_checkpoint(each) for each in on(base, adapters)], open_checkpoint(base)
    core = explain(plan_merge(models, "tsv_m", base=origin))
    full = explain(plan_merge(models, "tsv_m", base=origin, space="full"))
    for model, fate in full.total.items():
        assert dataclasses.astuple(core.total[model].l2) == pytest.approx(dataclasses.astuple(fate.l2))
        assert core.total[model].size == pytest.approx(fate.size)


def test_a_plan_reads_the_base_once_and_no_more(base, adapters, tmp_path):
    merge(adapters, "tsv_m", base=base, out=tmp_path / "out")
    plan = plan_recipe(read_recipe(tmp_path / "out" / "recipe.json"))
    assert plan.bytes_in == plan.bytes_out == sum(open_checkpoint(base).spec(name).nbytes for name in SHAPES)
    assert set(plan.cores.layers) == {f"{module}.weight" for module in (EMBED, Q, UP, DOWN, "model.conv")}
    assert plan.cores.layers[f"{Q}.weight"].sides == (10, 10)
