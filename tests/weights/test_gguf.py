"""GGUF files read as the model they were converted from, whichever part of it is asked for."""

import sys

import gguf
import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType as Q
from hypothesis import given
from hypothesis import strategies as st

from merganser import CheckpointError
from merganser.weights import Checkpoint, open_checkpoint, save
from merganser.weights._gguf_config import _llama3_factors

HIDDEN, HEADS, KV_HEADS, VOCABULARY = 64, 4, 2, 50

# Written down from llama.cpp's documentation, apart from the library's map that the opener uses.
IN_FILE = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
GEMMA3 = IN_FILE | {
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
}
SHAPES = {
    "model.embed_tokens": (VOCABULARY, HIDDEN),
    "model.norm": (HIDDEN,),
    "lm_head": (VOCABULARY, HIDDEN),
    "self_attn.q_proj": (HIDDEN, HIDDEN),
    "self_attn.k_proj": (HIDDEN // 2, HIDDEN),
    "self_attn.v_proj": (HIDDEN // 2, HIDDEN),
    "self_attn.o_proj": (HIDDEN, HIDDEN),
    "mlp.gate_proj": (96, HIDDEN),
    "mlp.up_proj": (96, HIDDEN),
    "mlp.down_proj": (HIDDEN, 96),
}


def model(names=IN_FILE, *, tied=True, biased=False, blocks=2):
    """A small model under Hugging Face's names."""
    generator, tensors = np.random.default_rng(0), {}
    for module in names:
        inside = module.startswith(("self_attn", "mlp")) or module.endswith("layernorm")
        for prefix in [f"model.layers.{i}." for i in range(blocks)] if inside else [""]:
            shape = SHAPES.get(module, (HIDDEN // HEADS if module.startswith("self_attn") else HIDDEN,))
            tensors[f"{prefix}{module}.weight"] = generator.standard_normal(shape).astype(np.float32)
            if biased and module.endswith(("q_proj", "k_proj")):
                tensors[f"{prefix}{module}.bias"] = generator.standard_normal(shape[0]).astype(np.float32)
    return {name: t for name, t in tensors.items() if not (tied and name.startswith("lm_head"))}


def permuted(weight, heads):
    """Rows as llama.cpp wants them, one at a time: the two halves of each head become neighbours."""
    rows, per_head = [], len(weight) // heads
    for head in range(heads):
        for pair in range(per_head // 2):
            rows.append(weight[head * per_head + pair])
            rows.append(weight[head * per_head + per_head // 2 + pair])
    return np.stack(rows)


def converted(tensors, arch, names):
    """Names and layout of the file, as the conversion makes them."""
    out = {}
    for name, tensor in tensors.items():
        path, leaf = name.rsplit(".", 1)
        block, module = path.split(".", 3)[2:] if path.startswith("model.layers.") else (None, path)
        if arch == "llama" and module.endswith(("q_proj", "k_proj")):
            tensor = permuted(tensor, HEADS if module.endswith("q_proj") else KV_HEADS)
        if arch.startswith("gemma") and module.endswith("norm"):
            tensor = tensor + np.float32(1)
        out[f"{names[module]}.{leaf}" if block is None else f"blk.{block}.{names[module]}.{leaf}"] = tensor
    return out


def write(path, tensors, arch="llama", kind=Q.F32, **settings):
    writer = gguf.GGUFWriter(path, arch)
    values = {
        "block_count": 2, "embedding_length": HIDDEN, "feed_forward_length": 96, "context_length": 128,
        "attention.head_count": HEADS, "attention.head_count_kv": KV_HEADS,
        "attention.layer_norm_rms_epsilon": 1e-5, "rope.freq_base": 10000.0,
    }  # fmt: skip
    for key, value in (values | settings).items():
        if value is not None:
            full = key.removeprefix("/") if key.startswith("/") else f"{arch}.{key}"
            add = {str: writer.add_string, float: writer.add_float32, int: writer.add_uint32}
            add.get(type(value), writer.add_array)(full, value)
    for name, tensor in tensors.items():
        coded = (
            tensor.ndim > 1
            and kind not in (Q.F32, Q.F16)
            and tensor.shape[-1] % gguf.GGML_QUANT_SIZES[kind][0] == 0
        )
        if coded:
            writer.add_tensor(name, gguf.quants.quantize(tensor, kind), raw_dtype=kind)
        else:
            writer.add_tensor(
                name, tensor.astype(np.float16) if kind == Q.F16 and tensor.ndim > 1 else tensor
            )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def llama(path, kind=Q.F32, *, tensors=None, arch="llama", names=IN_FILE, **settings):
    tensors = model(names) if tensors is None else tensors
    return open_checkpoint(write(path, converted(tensors, arch, names), arch, kind, **settings))


@pytest.mark.parametrize("kind", [Q.F32, Q.F16, Q.BF16, Q.Q8_0, Q.Q4_0, Q.Q4_1, Q.Q5_0])
def test_a_llama_reads_as_the_model_it_came_from(tmp_path, kind):
    tensors = model(tied=False, biased=True)
    found = llama(tmp_path / "m.gguf", kind, tensors=tensors)
    assert set(found) == set(tensors)
    stored = {Q.F16: "F16", Q.BF16: "BF16"}.get(kind, "F32")
    for name, tensor in tensors.items():
        expected = tensor
        if tensor.ndim > 1:  # blocks lie within rows, so coding and permuting rows change places
            expected = gguf.quants.dequantize(gguf.quants.quantize(tensor, kind), kind)
        assert found.spec(name).dtype == (stored if tensor.ndim > 1 else "F32")
        assert found.array(name).shape == tensor.shape
        np.testing.assert_array_equal(found.array(name), expected.astype(np.float32))


def test_it_is_the_very_model_that_was_converted(tmp_path):
    tensors = model(biased=True)
    found = llama(tmp_path / "m.gguf", tensors=tensors)
    held = Checkpoint.from_tensors(tensors)
    assert found.digest == held.digest
    copy = save(found, tmp_path / "copy")
    assert (copy.digest, copy.config, copy.layers) == (held.digest, found.config, held.layers)


@pytest.fixture(scope="module")
def coded(tmp_path_factory):
    return llama(tmp_path_factory.mktemp("coded") / "m.gguf", Q.Q4_0)


@given(st.data())
def test_any_range_is_the_slice_of_the_whole(coded, data):
    name = data.draw(st.sampled_from(sorted(coded)))
    spec = coded.spec(name)
    begin, end = sorted(data.draw(st.tuples(st.integers(0, spec.numel), st.integers(0, spec.numel))))
    whole, out = coded.array(name), torch.empty(end - begin)
    coded.reader(name)(begin, out)
    np.testing.assert_array_equal(coded.elements(name, begin, end), whole.reshape(-1)[begin:end])
    np.testing.assert_array_equal(out.numpy(), whole.reshape(-1)[begin:end])
    rows = slice(begin % (spec.shape[0] + 1), None, 3)
    np.testing.assert_array_equal(coded.array(name, rows), whole[rows])
    assert coded.read(name, rows).equal(torch.from_numpy(whole[rows].copy()))


def test_only_the_blocks_of_the_range_are_decoded(coded, monkeypatch):
    decoded, dequantize = [], gguf.dequantize
    monkeypatch.setattr(
        gguf, "dequantize", lambda raw, kind: decoded.append(raw.size) or dequantize(raw, kind)
    )
    coded.elements("model.embed_tokens.weight", 100, 101)
    coded.read("model.layers.0.self_attn.q_proj.weight", slice(5, 6))
    assert decoded == [18, 2 * 18]  # one block of 32; one row of two blocks


def test_long_tensors_are_decoded_piece_by_piece(coded, monkeypatch):
    whole = coded.array("model.embed_tokens.weight")
    monkeypatch.setattr("merganser.weights._gguf.PIECE", 96)
    np.testing.assert_array_equal(coded.array("model.embed_tokens.weight"), whole)


def test_what_is_stored_as_it_is_read_is_mapped_and_never_changed(tmp_path):
    path = tmp_path / "m.gguf"
    found, before = llama(path), None
    before = path.read_bytes(), found.digest
    for name in ("model.norm.weight", "model.layers.0.mlp.up_proj.weight"):
        assert found.read(name).data_ptr() == found.read(name).data_ptr()
        found.read(name).fill_(9)
    assert (path.read_bytes(), open_checkpoint(path).digest) == before
    assert save(found, tmp_path / "copy").digest == before[1]


def test_a_file_that_changed_is_an_error(tmp_path):
    found = llama(tmp_path / "m.gguf")
    llama(tmp_path / "m.gguf", Q.Q8_0)
    with pytest.raises(CheckpointError, match=r"m\.gguf has changed since it was opened"):
        found.read("model.layers.0.mlp.up_proj.weight")


@pytest.mark.parametrize("arch", ["qwen2", "qwen3", "gemma", "gemma2", "gemma3"])
def test_other_families_are_translated_too(tmp_path, arch):
    names = {
        "gemma3": GEMMA3,
        "gemma2": {n: f for n, f in GEMMA3.items() if "q_norm" not in n and "k_norm" not in n},
    }
    names = names.get(arch, IN_FILE)
    tensors = model(names, biased=arch == "qwen2")
    found = llama(tmp_path / "m.gguf", tensors=tensors, arch=arch, names=names)
    assert set(found) == set(tensors)
    for name, tensor in tensors.items():
        if arch.startswith("gemma") and name.endswith("norm.weight"):
            np.testing.assert_allclose(found.array(name), tensor, atol=6e-8 * 4)
        else:
            np.testing.assert_array_equal(found.array(name), tensor)


def test_a_gemma_with_shifted_norms_in_half_precision_reads_in_single(tmp_path):
    stored = {"output_norm.weight": np.array([1.5, 3.0], np.float16)}
    found = open_checkpoint(write(tmp_path / "m.gguf", stored, "gemma"))
    assert found.spec("model.norm.weight").dtype == "F32"
    assert found.read("model.norm.weight").tolist() == [0.5, 2.0]
    assert b"".join(found.chunks("model.norm.weight")) == np.array([0.5, 2.0], "<f4").tobytes()


@pytest.mark.parametrize(
    ("arch", "settings"), [("mpt", {}), ("unheard-of", {}), ("llama", {"expert_count": 8})]
)
def test_names_of_other_architectures_stay_as_in_the_file(tmp_path, arch, settings):
    stored = converted(model(), "llama", IN_FILE)
    found = open_checkpoint(write(tmp_path / "m.gguf", stored, arch, **settings))
    assert set(found) == set(stored)
    assert found.config == {}
    for name, tensor in stored.items():
        np.testing.assert_array_equal(found.array(name), tensor)


def test_a_tensor_the_map_does_not_know_keeps_its_name(tmp_path):
    stored = converted(model(), "llama", IN_FILE) | {"blk.0.odd.weight": np.ones(3, np.float32)}
    found = open_checkpoint(write(tmp_path / "m.gguf", stored))
    assert set(found) - set(model()) == {"blk.0.odd.weight"}


def test_integers_stay_integers(tmp_path):
    found = open_checkpoint(write(tmp_path / "m.gguf", {"ids": np.arange(6, dtype=np.int32).reshape(2, 3)}))
    assert found.buffers == ("ids",)
    assert found.read("ids").tolist() == [[0, 1, 2], [3, 4, 5]]


def test_other_numbers_of_heads_in_each_block_are_followed(tmp_path):
    tensors = model()
    stored = converted(tensors, "llama", IN_FILE)
    second = "model.layers.1.self_attn.q_proj.weight"
    stored["blk.1.attn_q.weight"] = permuted(tensors[second], 8)
    found = open_checkpoint(write(tmp_path / "m.gguf", stored, **{"attention.head_count": [HEADS, 8]}))
    np.testing.assert_array_equal(found.array(second), tensors[second])
    assert found.config == {}  # which has one number of heads for all


def test_an_adapter_fits_on_a_gguf_file(tmp_path):
    base = llama(tmp_path / "m.gguf", Q.Q8_0)
    a, b = torch.randn(2, HIDDEN), torch.randn(HIDDEN, 2)
    q = "model.layers.1.self_attn.q_proj"
    save(
        {f"base_model.model.{q}.lora_A.weight": a, f"base_model.model.{q}.lora_B.weight": b},
        tmp_path / "lora",
    )
    (tmp_path / "lora" / "model.safetensors").rename(tmp_path / "lora" / "adapter_model.safetensors")
    (tmp_path / "lora" / "adapter_config.json").write_text('{"peft_type": "LORA", "lora_alpha": 2}')
    found = open_checkpoint(f"{base.path}+{tmp_path / 'lora'}")
    torch.testing.assert_close(found.read(f"{q}.weight"), base.read(f"{q}.weight") + b @ a)


class TestConfig:
    def test_it_says_what_the_settings_say(self, tmp_path):
        found = llama(
            tmp_path / "m.gguf",
            **{"/tokenizer.ggml.eos_token_id": 2, "/general.name": "Tiny", "attention.key_length": 16},
        )
        assert found.config == {
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "intermediate_size": 96,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
            "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "vocab_size": 50,
            "tie_word_embeddings": True, "attention_bias": False, "eos_token_id": 2,
        }  # fmt: skip
        assert found.metadata == {"general.architecture": "llama", "general.name": "Tiny"}

    def test_a_head_of_its_own_is_not_tied(self, tmp_path):
        assert llama(tmp_path / "m.gguf", tensors=model(tied=False)).config["tie_word_embeddings"] is False

    @pytest.mark.parametrize(
        "missing", ["embedding_length", "block_count", "attention.layer_norm_rms_epsilon"]
    )
    def test_without_a_needed_setting_there_is_none(self, tmp_path, missing):
        assert llama(tmp_path / "m.gguf", **{missing: None}).config == {}

    @pytest.mark.parametrize(("blocks", "scale"), [(26, 256), (62, 16)])
    def test_gemma_gets_what_its_scores_are_scaled_by(self, tmp_path, blocks, scale):
        stored = {"token_embd.weight": np.ones((5, HIDDEN), np.float32)}
        settings = {"block_count": blocks, "attention.key_length": 256, "attention.sliding_window": 512}
        stored |= {f"blk.{i}.ffn_up.weight": np.ones((2, 2), np.float32) for i in range(blocks)}
        config = open_checkpoint(write(tmp_path / "m.gguf", stored, "gemma3", **settings)).config
        assert (config["query_pre_attn_scalar"], config["sliding_window"], config["model_type"]) == (
            scale, 512, "gemma3_text",
        )  # fmt: skip

    @pytest.mark.parametrize(
        ("settings", "scaling"),
        [
            (
                {"rope.scaling.type": "linear", "rope.scaling.factor": 8.0},
                {"rope_type": "linear", "factor": 8.0},
            ),
            (
                {
                    "rope.scaling.type": "yarn",
                    "rope.scaling.factor": 4.0,
                    "rope.scaling.original_context_length": 32,
                },
                {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32},
            ),
            ({"rope.scaling.type": "none"}, None),
            ({"rope.scaling.type": "linear"}, None),
        ],
    )
    def test_a_scaling_of_positions_is_kept(self, tmp_path, settings, scaling):
        assert llama(tmp_path / "m.gguf", **settings).config.get("rope_scaling") == scaling

    def test_llama_3s_factors_become_what_they_were_made_from(self, tmp_path):
        factors = loop_of_llama3_factors(500_000.0, 64, factor=32.0)
        np.testing.assert_allclose(_llama3_factors(500_000.0, 32.0, 64), factors, rtol=1e-6)
        stored = converted(model(), "llama", IN_FILE) | {"rope_freqs.weight": np.array(factors, np.float32)}
        found = open_checkpoint(write(tmp_path / "m.gguf", stored, **{"rope.freq_base": 500_000.0}))
        assert "rope_freqs.weight" not in found
        assert found.config["rope_scaling"] == {
            "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        }  # fmt: skip

    @pytest.mark.parametrize("factors", [[1.0, 2.0, 3.0], [0.0], [float("nan")] * 2, [1.0, 1.0]])
    def test_factors_of_another_rule_stay_a_tensor(self, tmp_path, factors):
        stored = converted(model(), "llama", IN_FILE) | {"rope_freqs.weight": np.array(factors, np.float32)}
        found = open_checkpoint(write(tmp_path / "m.gguf", stored))
        assert "rope_freqs.weight" in found
        assert "rope_scaling" not in found.config


def loop_of_llama3_factors(base, count, *, factor, low=1.0, high=4.0, context=8192):
    """As llama.cpp's conversion has it, one frequency after the other."""
    factors = []
    for i in range(count):
        wavelength = 2 * np.pi * base ** (i / count)
        if wavelength < context / high:
            factors.append(1.0)
        elif wavelength > context / low:
            factors.append(factor)
        else:
            smooth = (context / wavelength - low) / (high - low)
            factors.append(1 / ((1 - smooth) / factor + smooth))
    return factors


def test_without_the_library_it_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "m.gguf").touch()
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(CheckpointError, match=r"Install it with: pip install 'merganser\[gguf\]'"):
        open_checkpoint(tmp_path / "m.gguf")
