"""A base with an adapter equals slow loops over the definition, however it is cut, and misfits are named."""

import json
import math
import os

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from merganser import CheckpointError
from merganser.weights import Checkpoint, TensorSpec, open_checkpoint, save
from merganser.weights._adapter import adapted
from merganser.weights._adapter_config import LoraSettings
from merganser.weights._updated import BLOCK

Q, UP, DOWN = (f"model.layers.0.{part}" for part in ("self_attn.q_proj", "mlp.up_proj", "mlp.down_proj"))
SHAPES = {
    "model.embed_tokens.weight": (11, 6),
    f"{Q}.weight": (8, 6),
    f"{Q}.bias": (8,),
    f"{UP}.weight": (6, 6),
    f"{DOWN}.weight": (6, 10),
    "model.patches.weight": (5, 3, 2, 2),
    "model.norm.weight": (6,),
    "lm_head.weight": (11, 6),
}
CONFIG = {"peft_type": "LORA", "r": 2, "lora_alpha": 3, "fan_in_fan_out": False, "bias": "none"}


def random(seed, **shapes):
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()
    }


def write_adapter(folder, tensors, *, file="adapter_model.safetensors", prefix="base_model.model.", **config):
    folder.mkdir(exist_ok=True)
    named = {prefix + name: tensor for name, tensor in tensors.items()}
    if file.endswith(".safetensors"):
        save(named, folder / file, overwrite=True)
    else:
        torch.save(named, folder / file)
    (folder / "adapter_config.json").write_text(json.dumps(CONFIG | config))
    return folder


@pytest.fixture
def base(tmp_path):
    return save({n: t.float() for n, t in random(0, **SHAPES).items()}, tmp_path / "base")


@pytest.fixture
def opened(base, tmp_path):
    """Opens the base with an adapter of these tensors on it."""

    def opened(tensors, on=base, **options):
        return open_checkpoint(f"{on.path}+{write_adapter(tmp_path / 'adapter', tensors, **options)}")

    return opened


def lora(module, rows, columns, *, rank=2, seed=1):
    shapes = {f"{module}.lora_A.weight": (rank, columns), f"{module}.lora_B.weight": (rows, rank)}
    return random(seed, **shapes)


def loop(weight, a, b, scaling):
    """W + s B A, element by element, in Python's own floats."""
    new = [[0.0] * weight.shape[1] for _ in range(weight.shape[0])]
    for i in range(weight.shape[0]):
        for j in range(weight.shape[1]):
            delta = math.fsum(float(b[i, k]) * float(a[k, j]) for k in range(a.shape[0]))
            new[i][j] = float(weight[i, j]) + scaling * delta
    return torch.tensor(new, dtype=torch.float64)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_a_linear_layer_equals_the_loop_rounded_once(base, opened, tmp_path, dtype):
    stored = save({n: base.read(n).to(dtype) for n in base}, tmp_path / "stored")
    factors = lora(f"{Q}", 8, 6)
    found = opened(factors, on=stored)
    expected = loop(stored.read(f"{Q}.weight"), *factors.values(), 3 / 2)
    assert found.read(f"{Q}.weight").dtype == dtype
    torch.testing.assert_close(found.read(f"{Q}.weight"), expected.to(dtype), rtol=1e-15, atol=1e-15)
    exact = torch.empty(48, dtype=torch.float64)
    found.reader(f"{Q}.weight")(0, exact)
    torch.testing.assert_close(exact.view(8, 6), expected, rtol=1e-13, atol=1e-13)


def test_everything_else_stays_the_bases(base, opened):
    found = opened(lora(Q, 8, 6))
    assert list(found) == list(base)
    assert (found.config, found.layout, found.path) == (base.config, base.layout, None)
    for name in base:
        same = name != f"{Q}.weight"
        assert found.spec(name) == base.spec(name)
        assert found.read(name).equal(base.read(name)) == same
        assert found.elements(name, 3, 3).shape == (0,)
        assert bytes(found.tensors.view(name)) == found.array(name).tobytes()
        first, second = found.array(name), found.array(name)
        assert np.shares_memory(first, second) == same  # mapped, or computed anew


@pytest.mark.parametrize(
    ("rank", "config", "scaling"),
    [
        (2, {}, 3 / 2),
        (4, {"use_rslora": True}, 3 / 2),
        (3, {"rank_pattern": {"q_proj": 3}}, 1.0),
        (2, {"alpha_pattern": {"k_proj": 7, "layers.0.*q_proj": 5}}, 5 / 2),
        (2, {"alpha_pattern": {"proj": 7, "^model.*q_proj": 1, "q_proj": 5}}, 1 / 2),
        (2, {"alpha_pattern": {"_proj": 7}}, 3 / 2),
    ],
)
def test_the_scaling_is_that_of_the_configuration(base, opened, rank, config, scaling):
    factors = lora(Q, 8, 6, rank=rank)
    expected = loop(base.read(f"{Q}.weight"), *factors.values(), scaling)
    assert opened(factors, **config).read(f"{Q}.weight").allclose(expected.float(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("fan_in_fan_out", [True, False])
def test_a_square_weight_lies_as_the_configuration_says(base, opened, fan_in_fan_out):
    factors = lora(UP, 6, 6)
    delta = loop(torch.zeros(6, 6), *factors.values(), 3 / 2)
    expected = base.read(f"{UP}.weight") + (delta.T if fan_in_fan_out else delta)
    found = opened(factors, fan_in_fan_out=fan_in_fan_out)
    assert found.read(f"{UP}.weight").allclose(expected.float(), atol=1e-6)


@pytest.mark.parametrize("fan_in_fan_out", [True, False])
def test_other_weights_lie_as_their_shapes_say(base, opened, fan_in_fan_out):
    stored_as_in_out = lora(DOWN, 10, 6)
    expected = base.read(f"{DOWN}.weight") + loop(torch.zeros(10, 6), *stored_as_in_out.values(), 3 / 2).T
    found = opened(stored_as_in_out, fan_in_fan_out=fan_in_fan_out)
    assert found.read(f"{DOWN}.weight").allclose(expected.float(), atol=1e-6)


def test_an_embedding_equals_the_loop(base, opened):
    factors = random(
        3, **{"model.embed_tokens.lora_embedding_A": (2, 11), "model.embed_tokens.lora_embedding_B": (6, 2)}
    )
    expected = base.read("model.embed_tokens.weight") + loop(torch.zeros(6, 11), *factors.values(), 3 / 2).T
    assert opened(factors).read("model.embed_tokens.weight").allclose(expected.float(), atol=1e-6)


def test_a_convolution_equals_that_of_the_composed_kernels(base, opened):
    factors = random(
        4, **{"model.patches.lora_A.weight": (2, 3, 2, 2), "model.patches.lora_B.weight": (5, 2, 1, 1)}
    )
    found = opened(factors).read("model.patches.weight")
    images = random(5, images=(1, 3, 4, 4))["images"]
    a, b = factors.values()
    before = torch.nn.functional.conv2d(images, base.read("model.patches.weight").double())
    inner = torch.nn.functional.conv2d(images, a)
    expected = before + 3 / 2 * torch.nn.functional.conv2d(inner, b)
    assert torch.nn.functional.conv2d(images, found.double()).allclose(expected, atol=1e-5)


def test_saved_modules_and_biases_take_the_place_of_the_bases(opened):
    saved = random(
        6,
        **{
            "lm_head.weight": (11, 6),
            f"{Q}.base_layer.bias": (8,),
            "model.norm.modules_to_save.weight": (6,),
        },
    )
    found = opened(saved, bias="all", modules_to_save=["lm_head", "norm"])
    for name, tensor in zip(
        ("lm_head.weight", f"{Q}.bias", "model.norm.weight"), saved.values(), strict=True
    ):
        assert found.read(name).equal(tensor.float())
        assert found.elements(name, 2, 5).tolist() == tensor.float().flatten()[2:5].tolist()


def test_a_bias_of_the_adapter_is_added_scaled(base, opened):
    factors = lora(Q, 8, 6) | random(7, **{f"{Q}.lora_B.bias": (8,)})
    expected = base.read(f"{Q}.bias") + 3 / 2 * factors[f"{Q}.lora_B.bias"]
    assert opened(factors, lora_bias=True).read(f"{Q}.bias").allclose(expected.float(), atol=1e-6)


def test_an_embedding_saved_beside_its_factors_takes_the_bases_place_first(base, opened):
    name = "model.embed_tokens"
    factors = random(3, **{f"{name}.lora_embedding_A": (2, 11), f"{name}.lora_embedding_B": (6, 2)})
    saved = random(4, **{f"{name}.base_layer.weight": (11, 6)})
    expected = saved[f"{name}.base_layer.weight"] + loop(torch.zeros(6, 11), *factors.values(), 3 / 2).T
    assert opened(factors | saved).read(f"{name}.weight").allclose(expected.float(), atol=1e-6)


@pytest.mark.parametrize("key", ["lora_magnitude_vector", "lora_magnitude_vector.weight"])
def test_dora_equals_the_loop_over_rows(base, opened, key):
    factors = lora(Q, 8, 6)
    norms = random(8, norms=(8,))["norms"].abs() + 0.1
    found = opened(factors | {f"{Q}.{key}": norms}, use_dora=True)
    updated = loop(base.read(f"{Q}.weight"), *factors.values(), 3 / 2)
    expected = torch.stack(
        [norm * row / math.hypot(*row.tolist()) for norm, row in zip(norms, updated, strict=True)]
    )
    assert found.read(f"{Q}.weight").allclose(expected.float(), atol=1e-6)
    assert found.read(f"{Q}.weight", slice(3, 5)).allclose(expected[3:5].float(), atol=1e-6)


def test_several_adapters_are_applied_from_left_to_right(base, tmp_path):
    first = write_adapter(tmp_path / "first", lora(Q, 8, 6, seed=1))
    norms = torch.full((8,), 2.0)
    second = lora(Q, 8, 6, seed=2)
    last = write_adapter(tmp_path / "last", second | {f"{Q}.lora_magnitude_vector": norms}, use_dora=True)
    found = open_checkpoint(f"{base.path}+{first}+{last}")
    once = loop(base.read(f"{Q}.weight"), *lora(Q, 8, 6, seed=1).values(), 3 / 2)
    twice = loop(once, *second.values(), 3 / 2)
    expected = 2 * twice / twice.norm(dim=1, keepdim=True)
    assert found.source == f"{base.path}+{first}+{last}"
    assert open_checkpoint(found.source).digest == found.digest
    assert found.read(f"{Q}.weight").allclose(expected.float(), atol=1e-6)


def test_files_of_torch_hold_the_same(base, tmp_path):
    paths = [
        write_adapter(tmp_path / file, lora(Q, 8, 6), file=file)
        for file in ("adapter_model.bin", "adapter_model.safetensors")
    ]
    digests = {open_checkpoint(f"{base.path}+{path}").digest for path in paths}
    assert len(digests) == 1
    assert digests != {base.digest}


ROWS, COLUMNS = 700, 96
WIDE = "layers.0.up.weight"


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wide")
    weight = random(0, **{WIDE: (ROWS, COLUMNS)})
    base = save({n: t.bfloat16() for n, t in weight.items()}, folder / "base")
    adapter = write_adapter(folder / "adapter", lora("layers.0.up", ROWS, COLUMNS, rank=8))
    return open_checkpoint(f"{base.path}+{adapter}")


@given(
    st.integers(0, ROWS * COLUMNS),
    st.integers(0, ROWS * COLUMNS),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_any_range_is_the_slice_of_the_whole(wide, first, second, dtype):
    begin, end = sorted((first, second))
    whole, part = (
        torch.empty(ROWS * COLUMNS, dtype=dtype),
        torch.empty(end - begin, dtype=dtype),
    )
    read = wide.reader(WIDE)
    read(0, whole)
    wide.reader(WIDE)(begin, part)
    assert part.equal(whole[begin:end])
    assert np.array_equal(
        wide.elements(WIDE, begin, end),
        wide.array(WIDE).reshape(-1)[begin:end],
    )


def test_the_number_of_threads_changes_nothing(wide):
    results, before = [], torch.get_num_threads()
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        out = torch.empty(ROWS * COLUMNS)
        wide.reader(WIDE)(0, out)
        results.append((out, wide.read(WIDE)))
    torch.set_num_threads(before)
    assert all(a.equal(results[0][0]) and b.equal(results[0][1]) for a, b in results)


def test_rounding_the_unrounded_gives_the_stored(wide):
    exact = torch.empty(ROWS * COLUMNS, dtype=torch.float64)
    wide.reader(WIDE)(0, exact)
    assert exact.bfloat16().equal(wide.read(WIDE).reshape(-1))


def test_chunks_digest_and_copies_agree(wide, tmp_path, monkeypatch):
    monkeypatch.setattr("merganser.weights._source.CHUNK_BYTES", 10_000)
    read = Checkpoint.from_tensors({name: wide.read(name) for name in wide})
    assert wide.digest == read.digest == save(wide, tmp_path / "copy").digest
    assert max(len(chunk) for chunk in wide.chunks(WIDE)) <= 10_000


def test_only_the_rows_asked_for_are_read():
    rows, columns = 100_000, 128
    base = Checkpoint(Zeros("up.weight", rows, columns))
    factors = random(0, **{"up.lora_A.weight": (4, columns), "up.lora_B.weight": (rows, 4)})
    found = adapted(base, Checkpoint.from_tensors(factors), LoraSettings(4.0), None)
    found.read("up.weight", slice(50_000, 50_010))
    found.elements("up.weight", 7, 8)
    assert sum(base.tensors.asked) <= 10 * columns + 3 * BLOCK
    assert found.tensors.stamps == ()


class Zeros:
    """A tensor larger than anything that may be computed of it, which notes how much of it was."""

    stamps = ()

    def __init__(self, name, rows, columns):
        self.specs = {name: TensorSpec(name, "F32", (rows, columns))}
        self.asked = []

    def view(self, name):
        raise AssertionError("the whole tensor was asked for")

    chunks = view

    def part(self, name, begin, end):
        self.asked.append(end - begin)
        return np.zeros(4 * (end - begin), np.uint8)


class TestNames:
    @pytest.mark.parametrize(
        "module",
        ["layers.0.self_attn.q_proj", "model.model.layers.0.self_attn.q_proj", Q, "language_model." + Q],
    )
    def test_missing_and_doubled_prefixes_are_bridged(self, base, opened, module):
        expected = loop(base.read(f"{Q}.weight"), *lora(Q, 8, 6).values(), 3 / 2)
        assert opened(lora(module, 8, 6)).read(f"{Q}.weight").allclose(expected.float(), atol=1e-6)

    @pytest.mark.parametrize("prefix", ["base_model.model.", "", "base_model.model.base_model.model."])
    def test_keys_with_and_without_pefts_prefix_fit(self, opened, base, prefix):
        found = opened(lora(Q, 8, 6), prefix=prefix)
        assert not found.read(f"{Q}.weight").equal(base.read(f"{Q}.weight"))

    def test_names_with_the_adapters_own_name_in_them_fit(self, opened):
        named = {name.replace(".weight", ".default.weight"): t for name, t in lora(Q, 8, 6).items()}
        assert opened(named).digest == opened(lora(Q, 8, 6)).digest

    @pytest.mark.parametrize(
        ("tensors", "message"),
        [
            (
                lora("model.layers.0.self_attn.q_prj", 8, 6),
                rf"q_prj\.weight', but .*base has no such tensor\. Close to it are: {Q}\.weight",
            ),
            (lora("model.layers.1.self_attn.q_proj", 8, 6), "trained on another base"),
            (random(0, unheard_of=(3,)), "'base_model.model.unheard_of' should change 'unheard_of'"),
            (random(0, **{f"{Q}.lora_A.weight": (2, 6)}), f"lacks lora_B of '{Q}'. The adapter was not saved whole"),
            (lora(Q, 8, 6) | lora(f"model.{Q}", 8, 6), rf"changes '{Q}\.weight' of .*base twice"),
            (lora(Q, 8, 6) | random(0, **{f"{Q}.lora_A.default.weight": (2, 6)}), "has lora_A of '.*' twice"),
            (lora(Q, 8, 6) | random(0, **{f"{Q}.lora_A.bias": (2,)}), "'.*lora_A.bias' is a part of an adapter of"),
            (random(0, **{f"{Q}.lora_Q.weight": (2, 6)}), "'.*lora_Q.weight' is a part of an adapter of an unknown"),
            (random(0, **{"model.embed_tokens.token_adapter.trainable_tokens_delta": (2, 6)}), "of an unknown kind"),
            (lora(Q, 8, 5), r"of shape \(2, 5\) and .* of shape \(8, 2\) do not fit .* of shape \(8, 6\)"),
            (lora("model.norm", 6, 1), r"do not fit 'model\.norm\.weight' of shape \(6,\)"),
            (lora("model.patches", 12, 5), "do not fit 'model.patches.weight'"),
            (random(0, **{f"{Q}.lora_A.weight": (0, 6), f"{Q}.lora_B.weight": (8, 0)}), "do not fit"),
            (random(0, **{f"{Q}.lora_A.weight": (2, 6), f"{Q}.lora_B.weight": (8, 3)}), "do not fit"),
            (lora(Q, 8, 6) | random(0, **{f"{Q}.lora_B.bias": (3,)}), r"of shape \(3,\) .* do not fit '.*\.bias'"),
            (lora(Q, 8, 6) | random(0, **{f"{Q}.lora_magnitude_vector": (3,)}), r"must have 8 norms, .* shape \(3,\)"),
            (lora(DOWN, 10, 6) | random(0, **{f"{DOWN}.lora_magnitude_vector": (10,)}), r"norms \(DoRA\) for"),
            (random(0, **{"lm_head.weight": (14, 6)}), "The vocabularies differ: 11 against 14 rows"),
            (random(0, **{"model.norm.weight": (7,)}), r"of shape \(6,\), but has the shape \(7,\)\. Was the"),
            ({"lm_head.weight": torch.ones(11, 6, dtype=torch.int8)}, "is I8, but takes the place of 'lm_head.weight'"),
        ],
    )  # fmt: skip
    def test_what_does_not_belong_to_the_base_is_named(self, opened, tensors, message):
        with pytest.raises(CheckpointError, match=message):
            opened(tensors)

    def test_several_tensors_that_could_be_meant_are_listed(self, opened, tmp_path):
        two = save({f"{part}.layers.0.q.weight": torch.ones(2, 2) for part in "ab"}, tmp_path / "two")
        with pytest.raises(CheckpointError, match=r"several tensors of .*two: a\.layers\.0\.q\.weight, b\."):
            opened(lora("layers.0.q", 2, 2), on=two)

    def test_a_tied_name_says_what_it_is_tied_to(self, opened, tmp_path):
        tied = save(
            {"embed.weight": torch.ones(4, 2)}, tmp_path / "tied", metadata={"lm_head.weight": "embed.weight"}
        )
        with pytest.raises(
            CheckpointError, match=r"tied to 'embed\.weight' there; with the adapter the two would differ"
        ):
            opened(random(0, **{"lm_head.weight": (4, 2)}), on=tied)

    @pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn])
    def test_a_quantised_base_is_refused(self, opened, tmp_path, dtype):
        quantised = save({f"{Q}.weight": torch.ones(8, 6).to(dtype)}, tmp_path / "quantised")
        for tensors in (lora(Q, 8, 6), random(0, **{f"{Q}.weight": (8, 6)})):
            with pytest.raises(CheckpointError, match="Use a base that is not quantised"):
                opened(tensors, on=quantised)


@pytest.mark.parametrize("missing", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_folder_that_is_no_adapter_says_what_is_missing(base, tmp_path, missing):
    folder = write_adapter(tmp_path / "a", lora(Q, 8, 6))
    (folder / missing).unlink()
    with pytest.raises(
        CheckpointError, match=r"is no PEFT adapter: expected a folder with adapter_config\.json and"
    ):
        open_checkpoint(f"{base.path}+{folder}")


def test_an_adapter_alone_is_no_model(tmp_path):
    folder = write_adapter(tmp_path / "a", lora(Q, 8, 6))
    with pytest.raises(
        CheckpointError, match=r"an adapter, not a whole model\. Name its base too: 'BASE\+.*/a'"
    ):
        open_checkpoint(folder)
    assert len(open_checkpoint(folder / "adapter_model.safetensors")) == 2


def test_tensors_that_share_memory_in_a_file_of_torchs_are_all_applied(base, tmp_path):
    b = torch.ones(6, 2)
    shared = {f"{m}.lora_B.weight": b for m in (UP, DOWN)}
    factors = {f"{UP}.lora_A.weight": torch.ones(2, 6), f"{DOWN}.lora_A.weight": torch.ones(2, 10), **shared}
    found = open_checkpoint(f"{base.path}+{write_adapter(tmp_path / 'a', factors, file='adapter_model.bin')}")
    for name in (f"{UP}.weight", f"{DOWN}.weight"):
        torch.testing.assert_close(found.read(name), base.read(name) + 3)


def test_a_damaged_adapter_is_named(base, tmp_path):
    folder = write_adapter(tmp_path / "a", lora(Q, 8, 6))
    data = (folder / "adapter_model.safetensors").read_bytes()
    (folder / "adapter_model.safetensors").write_bytes(data[:-1])
    with pytest.raises(CheckpointError, match=r"adapter_model\.safetensors is cut short"):
        open_checkpoint(f"{base.path}+{folder}")
    (folder / "adapter_config.json").unlink()
    (folder / "adapter_config.json").mkdir()
    (folder / "adapter_model.safetensors").write_bytes(data)
    with pytest.raises(
        CheckpointError, match=r"adapter_config\.json cannot be read: it is not an ordinary file"
    ):
        open_checkpoint(f"{base.path}+{folder}")


def test_another_scaling_gives_another_digest_although_the_tensors_stay(base, tmp_path):
    def digest(alpha, written):
        folder = write_adapter(tmp_path / "a", lora(Q, 8, 6), lora_alpha=alpha)
        for file in (*folder.iterdir(), *base.path.iterdir()):  # long ago, so that the digest is remembered
            os.utime(file, ns=(1, written if file.name == "adapter_config.json" else 1))
        return open_checkpoint(f"{base.path}+{folder}").digest

    assert digest(3, written=1) == digest(3, written=1) != digest(4, written=2)
