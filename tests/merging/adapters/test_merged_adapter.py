"""A merged adapter on its base is the merged model, also after its rank was cut; what cannot be is refused."""

import json

import pytest
import torch

from merganser import CheckpointError, OutputError, merge, verify
from merganser.merging import explain, plan_merge, plan_recipe, read_recipe, share_lost
from merganser.weights import open_adapter, open_checkpoint, save

from .conftest import DOWN, EMBED, SHAPES, UP, Q, factors, random

WEIGHT = f"{UP}.weight"


@pytest.fixture
def out(tmp_path):
    return tmp_path / "merged"


def config_of(folder):
    return json.loads((folder / "adapter_config.json").read_text())


def same(found, expected, *, rtol=1e-9, atol=1e-11):
    for name in SHAPES:
        torch.testing.assert_close(found.read(name), expected.read(name), rtol=rtol, atol=atol)


@pytest.mark.parametrize("method", ["linear", "task_arithmetic", "tsv_m", "iso_c", "iso_cts", "wudi"])
def test_on_its_base_it_is_the_merged_model(base, adapters, out, method):
    merge(adapters, method, base=base, out=out, as_adapter=True)
    same(open_checkpoint(f"{base}+{out}"), merge(adapters, method, base=base))
    assert verify(out).is_same


def test_its_folder_holds_what_an_adapter_needs(base, adapters, out):
    merged = merge(adapters, "tsv_m", base=base, out=out, as_adapter=True)
    assert {file.name for file in out.iterdir()} == {
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "recipe.json",
    }
    config = config_of(out)
    assert config["base_model_name_or_path"] == "org/base"
    assert config["target_modules"] == ["conv", "down_proj", "embed_tokens", "q_proj", "up_proj"]
    ranks = {f"^{Q}": 10, f"^{UP}": 5, f"^{DOWN}": 3, f"^{EMBED}": 2, "^model.conv": 2}
    assert {config["r"], *config["rank_pattern"].values()} == set(ranks.values())
    assert config["rank_pattern"] == {key: rank for key, rank in ranks.items() if rank != config["r"]}
    assert config["alpha_pattern"] == config["rank_pattern"]
    assert merged.spec(f"base_model.model.{Q}.lora_A.weight").shape == (10, 24)
    assert merged.spec("base_model.model.model.conv.lora_B.weight").shape == (20, 2, 1, 1)
    card = (out / "README.md").read_text()
    assert "library_name: peft" in card
    assert "This is an adapter" in card


def test_modules_are_named_whole_where_their_last_part_means_others_too(base, write, out, tmp_path):
    with_two = {
        **{n: random(i, s) for i, (n, s) in enumerate(SHAPES.items())},
        "model.layers.1.mlp.up_proj.weight": random(5, (40, 24)),
    }
    save(with_two, tmp_path / "two")
    merge([write("a", factors(UP, 2, 1))], "linear", base=str(tmp_path / "two"), out=out, as_adapter=True)
    assert config_of(out)["target_modules"] == [UP]


def test_it_has_the_widest_type_of_the_factors_or_the_one_asked_for(base, write, tmp_path):
    adapters = [
        write("a", factors(UP, 2, 1, dtype=torch.bfloat16)),
        write("b", factors(UP, 2, 2, dtype=torch.float32)),
    ]
    for dtype, expected in ((None, "F32"), ("float16", "F16")):
        merged = merge(adapters, "tsv_m", base=base, out=tmp_path / str(dtype), as_adapter=True, dtype=dtype)
        assert {merged.spec(name).dtype for name in merged} == {expected}


def test_without_a_folder_it_stays_in_memory(base, adapters, out):
    held = merge(adapters, "tsv_m", base=base, as_adapter=True)
    written = merge(adapters, "tsv_m", base=base, as_adapter=True, out=out)
    assert held.digest == written.digest
    assert held.config["r"] == config_of(out)["r"]


@pytest.mark.parametrize("as_adapter", [True, False])
def test_a_rank_keeps_the_largest_directions(base, adapters, out, as_adapter):
    origin = open_checkpoint(base)
    full = merge(adapters, "task_arithmetic", base=base)
    merge(adapters, "task_arithmetic", base=base, rank=2, out=out, as_adapter=as_adapter)
    cut = open_checkpoint(f"{base}+{out}" if as_adapter else out)
    plan = plan_recipe(read_recipe(out / "recipe.json"))
    energy = lost = 0.0
    for name, truncation in plan.cores.truncations().items():
        whole, kept = ((model.read(name) - origin.read(name)).flatten(1) for model in (full, cut))
        u, s, v = torch.linalg.svd(whole, full_matrices=False)
        torch.testing.assert_close(kept, (u[:, :2] * s[:2]) @ v[:2], rtol=1e-9, atol=1e-11)
        assert truncation.lost == pytest.approx(s[2:].square().sum().item(), abs=1e-12)
        energy, lost = energy + s.square().sum().item(), lost + s[2:].square().sum().item()
    assert share_lost(plan) == pytest.approx(lost / energy)
    assert f"{lost / energy:.2%} of their energy" in (out / "README.md").read_text()
    assert verify(out).is_same


def test_a_rank_that_keeps_all_loses_nothing(base, adapters):
    plan = plan_merge([open_adapter(open_checkpoint(base), each) for each in adapters], "linear", rank=10)
    assert share_lost(plan) == 0.0


def test_modules_saved_whole_and_biases_come_with_it(base, adapters, write, out):
    head = {"lm_head.weight": random(99, SHAPES["lm_head.weight"])}
    biased = (
        factors(Q, 2, 9)
        | head
        | {
            f"{Q}.base_layer.bias": random(8, (24,)),
            f"{UP}.lora_A.weight": random(1, (2, 24)),
            f"{UP}.lora_B.weight": random(2, (40, 2)),
        }
    )
    others = [adapters[0], write("saved", biased, modules_to_save=["lm_head"], bias="lora_only")]
    merge(others, "task_arithmetic", base=base, out=out, as_adapter=True)
    same(open_checkpoint(f"{base}+{out}"), merge(others, "task_arithmetic", base=base, space="full"))
    config = config_of(out)
    assert (config["modules_to_save"], config["bias"]) == (["lm_head"], "all")
    assert verify(out).is_same


def test_layers_stored_the_other_way_round_stay_so(base, write, out):
    flipped = [
        write(f"f{i}", factors(DOWN, 2, i, shape=(40, 24)) | factors(Q, 2, i + 5), fan_in_fan_out=True)
        for i in range(2)
    ]
    merge(flipped, "tsv_m", base=base, out=out, as_adapter=True)
    assert config_of(out)["fan_in_fan_out"] is True
    same(open_checkpoint(f"{base}+{out}"), merge(flipped, "tsv_m", base=base))


def test_an_account_of_an_adapter_is_that_of_the_model(base, adapters, out):
    merge(adapters, "tsv_m", base=base, out=out, as_adapter=True)
    found = explain(plan_recipe(read_recipe(out / "recipe.json")))
    models = [open_checkpoint(f"{base}+{each}") for each in adapters]
    expected = explain(plan_merge(models, "tsv_m", base=open_checkpoint(base)))
    assert [f.l1.survived for f in found.total.values()] == pytest.approx(
        [f.l1.survived for f in expected.total.values()]
    )


def test_a_changed_factor_is_found(base, adapters, out):
    merged = merge(adapters, "tsv_m", base=base, out=out, as_adapter=True)
    file, spec = out / "adapter_model.safetensors", merged.spec(f"base_model.model.{Q}.lora_A.weight")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert len(verify(out).different) == 1
    assert spec.dtype == "F64"


class TestWhatCannotBe:
    def refused(self, error, match, models, method="tsv_m", *, out, **options):
        with pytest.raises(error, match=match):
            merge(models, method, out=out, **options)
        assert not out.exists()
        assert not list(out.parent.glob(f".{out.name}*"))

    def test_norms_of_rows(self, base, adapters, write, out):
        dora = write("dora", factors(Q, 2, 9) | {f"{Q}.lora_magnitude_vector": random(7, (24,)).abs() + 1})
        self.refused(
            ValueError, r"DoRA.*whole model", [adapters[0], dora], base=base, out=out, as_adapter=True
        )

    def test_a_method_that_depends_on_the_basis(self, base, adapters, out):
        self.refused(
            ValueError, "`ties` depends on the basis", adapters, "ties", base=base, out=out, as_adapter=True
        )
        merge(adapters, "ties", base=base, out=out, as_adapter=True, space="core")
        assert verify(out).is_same

    @pytest.mark.parametrize("method", ["neuromerging", "karcher", "slerp"])
    def test_a_method_that_needs_the_weights_of_the_base(self, base, adapters, out, method):
        self.refused(
            ValueError, "needs the base's weights", adapters[:2], method, base=base, out=out, space="core"
        )

    def test_an_arc_between_weights_whose_base_is_not_named(self, base, adapters, out):
        models = [f"{base}+{each}" for each in adapters[:2]]
        self.refused(ValueError, "Name a base", models, "nuslerp", out=out, space="core")
        assert merge(models, "nuslerp", base=base, space="core")

    def test_whole_models(self, base, adapters, out):
        self.refused(
            ValueError, "no adapter on a base", [base, f"{base}+{adapters[0]}"], "linear", out=out, rank=2
        )

    def test_whole_tensors(self, base, adapters, out):
        self.refused(
            ValueError, "`space` is full", adapters, base=base, out=out, as_adapter=True, space="full"
        )

    def test_a_space_that_is_none(self, base, adapters, out):
        self.refused(
            ValueError, "must be one of auto, full, core", adapters, base=base, out=out, space="kernel"
        )

    @pytest.mark.parametrize(("rank", "match"), [(11, "more than 10"), (0, "at least 1")])
    def test_a_rank_that_no_layer_has(self, base, adapters, out, rank, match):
        self.refused(ValueError, match, adapters, base=base, out=out, rank=rank)

    def test_a_file_instead_of_a_folder(self, base, adapters, tmp_path):
        file = tmp_path / "merged.safetensors"
        self.refused(ValueError, "An adapter is a folder", adapters, base=base, out=file, as_adapter=True)

    def test_a_folder_that_is_there(self, base, adapters, out):
        merge(adapters, "tsv_m", base=base, out=out, as_adapter=True)
        with pytest.raises(OutputError):
            merge(adapters, "tsv_m", base=base, out=out, as_adapter=True)
        merge(adapters, "linear", base=base, out=out, as_adapter=True, overwrite=True)
        assert read_recipe(out / "recipe.json").blueprint.method == "linear"

    def test_adapters_without_a_base(self, adapters, out):
        self.refused(CheckpointError, "is an adapter, not a whole model. Name its base", adapters, out=out)

    def test_adapters_that_name_different_bases(self, base, adapters, write, out):
        other = write("other", factors(Q, 2, 9), base_model_name_or_path="org/Other")
        self.refused(
            CheckpointError,
            r"name different bases: .*org/base.*org/Other",
            [*adapters, other],
            base=base,
            out=out,
        )
        merge([f"{base}+{each}" for each in (*adapters, other)], "tsv_m", out=out)

    def test_a_folder_and_a_hub_id_that_end_alike_are_one_base(self, base, adapters, write):
        other = write("other", factors(Q, 2, 9), base_model_name_or_path="/models/Base/")
        assert merge([*adapters, other], "tsv_m", base=base)

    def test_adapters_on_different_bases(self, base, adapters, out, tmp_path):
        second = {name: random(i + 50, shape) for i, (name, shape) in enumerate(SHAPES.items())}
        save(second, tmp_path / "second")
        models = [f"{base}+{adapters[0]}", f"{tmp_path / 'second'}+{adapters[1]}"]
        self.refused(ValueError, "on different bases", models, "linear", out=out, as_adapter=True)
        self.refused(ValueError, "needs|works on differences", models, out=out)

    def test_another_base_than_the_adapters(self, base, adapters, out, tmp_path):
        save({name: random(i, shape) for i, (name, shape) in enumerate(SHAPES.items())}, tmp_path / "second")
        models = [f"{base}+{each}" for each in adapters]
        self.refused(
            ValueError, "Name the same", models, base=str(tmp_path / "second"), out=out, as_adapter=True
        )

    def test_an_adapter_of_other_shapes(self, base, adapters, write, out):
        other = write("other", factors(UP, 2, 9, shape=(41, 24)))
        self.refused(CheckpointError, "do not fit", [adapters[0], other], base=base, out=out)

    def test_a_module_that_the_base_lacks(self, base, adapters, write, out):
        other = write("other", factors("model.layers.7.mlp.up_proj", 2, 9, shape=(40, 24)))
        self.refused(CheckpointError, "has no such tensor", [adapters[0], other], base=base, out=out)

    def test_half_a_product(self, base, adapters, write, out):
        half = {f"{UP}.lora_A.weight": random(1, (2, 24))}
        self.refused(CheckpointError, "lacks lora_B", [adapters[0], write("half", half)], base=base, out=out)

    @pytest.mark.parametrize("as_adapter", [True, False])
    @pytest.mark.parametrize("number", [float("nan"), float("inf")])
    def test_a_number_that_is_none(self, base, adapters, write, out, number, as_adapter):
        broken = factors(UP, 2, 9)
        broken[f"{UP}.lora_B.weight"][3, 1] = number
        models = [adapters[0], write("broken", broken)]
        match = r"up_proj.lora_B.weight' of .*broken.* NaN or infinite"
        self.refused(CheckpointError, match, models, base=base, out=out, as_adapter=as_adapter)

    def test_a_base_that_is_damaged(self, base, adapters, out, tmp_path):
        held = open_checkpoint(base)
        tensors = {name: held.read(name).clone() for name in held}
        tensors["model.norm.weight"][3] = float("nan")
        save(tensors, tmp_path / "damaged")
        match = r"'model.norm.weight' of .*damaged holds a number that is NaN, at element 3"
        self.refused(CheckpointError, match, adapters, base=str(tmp_path / "damaged"), out=out)
