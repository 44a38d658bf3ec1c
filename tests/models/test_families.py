"""Language models of many families live as transformers would load them, bit for bit.

Every family is a tiny random model as `save_pretrained` writes it: what transformers 5 renames and packs in memory
stands on disk under its old names.
"""

from __future__ import annotations

import shutil
from typing import Any

import pytest
import torch
import transformers

from merganser import CheckpointError, load
from merganser.merging import Engine, plan_merge
from merganser.models import Continuation, GenerationRequest, LanguageModel
from merganser.models._build import build
from merganser.models._places import move_memory
from merganser.models._tokens import Answer
from merganser.weights import Checkpoint, Execution, open_checkpoint, save

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL: dict[str, Any] = {
    "vocab_size": 99,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
EXPERTS = {"num_experts": 3, "num_experts_per_tok": 2, "moe_intermediate_size": 8}
FAMILIES: dict[str, dict[str, Any]] = {
    "Llama": {},
    "Mistral": {"sliding_window": 5},
    "Qwen2": {},
    "Qwen3": {"head_dim": 4, "tie_word_embeddings": True},
    "Gemma": {"head_dim": 4},
    "Gemma2": {"head_dim": 4, "sliding_window": 5},
    "Gemma3Text": {"head_dim": 4, "sliding_window": 5},
    "Phi": {},
    "Phi3": {},
    "GPT2": {},
    "GPTNeoX": {},
    "GPTJ": {"rotary_dim": 4},
    "Falcon": {},
    "Bloom": {},
    "Olmo2": {},
    "Mamba": {},
    "Mixtral": {"num_local_experts": 3, "num_experts_per_tok": 2},
    "Qwen2Moe": {**EXPERTS, "shared_expert_intermediate_size": 8},
    "Qwen3Moe": {**EXPERTS, "head_dim": 4, "mlp_only_layers": [1]},
    "GraniteMoe": {"num_local_experts": 3, "num_experts_per_tok": 2},
    "GptOss": {"head_dim": 4, "num_local_experts": 4, "num_experts_per_tok": 2},
}
PACKED = ("Mixtral", "Qwen2Moe", "Qwen3Moe")


@pytest.fixture(scope="session")
def family(tmp_path_factory):
    """Makes the folders of a family's two models."""
    folder = tmp_path_factory.mktemp("living")

    def make(name):
        places = [folder / name / which for which in ("first", "second")]
        for seed, place in enumerate(places):
            if place.exists():
                continue
            torch.manual_seed(seed)
            config = getattr(transformers, f"{name}Config")(**SMALL | FAMILIES[name])
            model = transformers.AutoModelForCausalLM.from_config(config)
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.add_(torch.randn_like(parameter) * 0.1)
            model.save_pretrained(place)
        return places

    return make


def loaded(place, dtype=torch.float32):
    """What transformers makes of a folder."""
    return transformers.AutoModelForCausalLM.from_pretrained(place, dtype=dtype).eval()


@torch.no_grad()
def check_same(alive, expected):
    """Every parameter and buffer is the same, and so is what the model says."""
    state = expected.state_dict()
    assert alive.module.state_dict().keys() == state.keys()
    for name, tensor in alive.module.state_dict().items():
        assert tensor.dtype == state[name].dtype
        assert tensor.equal(state[name]), name
    buffers = dict(expected.named_buffers())
    for name, buffer in alive.module.named_buffers():
        assert buffer.equal(buffers[name]), name
    words = torch.randint(4, 99, (2, 12), generator=torch.Generator().manual_seed(3))
    logits = expected(words).logits
    assert logits.isfinite().all()
    assert alive.module(words).logits.equal(logits)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_model_lives_as_transformers_loads_it_and_becomes_another(name, family):
    first, second = family(name)
    alive = load(first)
    check_same(alive, loaded(first))
    alive.become(open_checkpoint(second))
    check_same(alive, loaded(second))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_merge_in_memory_is_the_merge_on_disk_loaded(name, family, tmp_path):
    models = [open_checkpoint(place) for place in family(name)]
    plan = plan_merge(models, "linear", parameters={"weight": [0.3, 0.7]})
    alive = LanguageModel.of(models[0])
    alive.become(plan, workers=2)
    merged = Engine(plan, Execution()).in_memory(dict(plan.config))
    save(merged, tmp_path / "merged")
    check_same(alive, loaded(tmp_path / "merged"))


@pytest.mark.parametrize("name", ["Llama", "Mixtral", "GPT2"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_what_transformers_makes_of_the_files(name, dtype, family):
    first, _ = family(name)
    check_same(load(first, dtype=dtype), loaded(first, dtype))


@pytest.mark.parametrize("name", FAMILIES)
def test_every_tensor_on_disk_and_in_memory_is_found_from_the_other(name, family):
    checkpoint = open_checkpoint(family(name)[0])
    alive = load(checkpoint)
    assert set(alive.places) == set(checkpoint)
    assert set(alive.names) == set(alive.module.state_dict())
    assert {disk for names in alive.names.values() for disk in names} == set(checkpoint)
    for memory, names in alive.names.items():
        there = alive.module.state_dict()[memory]
        before = there.clone()
        for disk in names:
            alive.places[disk].fill_(7.0)
        assert (there == 7.0).all()
        there.copy_(before)


@pytest.mark.parametrize("name", PACKED)
def test_experts_are_packed_in_memory_and_single_on_disk(name, family):
    alive = load(family(name)[0])
    packed = [names for names in alive.names.values() if len(names) > 1]
    assert {len(names) for names in packed} == {3, 6}, "three experts: down alone, gate and up together"
    gate_and_up = next(names for names in packed if len(names) == 6)
    assert [".1." in name for name in gate_and_up] == [False, False, True, True, False, False]


SPEAKING = (
    "Mistral",
    "Gemma2",
    "Gemma3Text",
    "Phi3",
    "GPT2",
    "GPTNeoX",
    "Falcon",
    "Bloom",
    "Mixtral",
    "GptOss",
)
"""With windows, absolute and rotary positions, ALiBi, experts."""

SAME = "Once upon a time there was a dog named Tim. "


def speaking(name, folder, stories):
    """Writes a random model of a family that has the small Llama's tokenizer."""
    torch.manual_seed(5)
    config = getattr(transformers, f"{name}Config")(**SMALL | FAMILIES[name] | {"vocab_size": 512})
    module = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    module.save_pretrained(folder)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(stories / file, folder)


@pytest.mark.parametrize("beginning", ["", SAME], ids=["apart", "with a common beginning"])
@pytest.mark.parametrize("name", SPEAKING)
def test_answers_are_those_of_one_at_a_time_without_a_cache(name, beginning, tmp_path, stories):
    speaking(name, tmp_path, stories)
    alive, reference = load(tmp_path), loaded(tmp_path)
    alive.tokens.ends = frozenset()
    prompts = [beginning + rest for rest in ("Lily", "The cat and the dog", "A big red ball")]
    asked = [alive.tokens.prompt(prompt) for prompt in prompts]
    spoken = []
    for prompt in asked:
        tokens = list(prompt)
        with torch.no_grad():
            for _ in range(8):
                tokens.append(int(reference(torch.tensor([tokens]), use_cache=False).logits[0, -1].argmax()))
        answer = Answer(alive.tokens, prompt)
        for token in tokens[len(prompt) :]:
            answer.add(token)
        spoken.append(answer.text)
    found = alive.generate([GenerationRequest(prompt, max_tokens=8) for prompt in prompts])
    assert [response.text for response in found] == spoken


CHOICES = (" cat", " a dog and the", " so big that it was sad.", " t", " dog")
CONTEXTS = (
    "The cat sat. It was happy to see the",
    "One day Tim and Sue found",
    "Lily saw a big red ball. She was sad, for it",
)


@pytest.mark.parametrize("beginning", ["", SAME], ids=["apart", "with a common beginning"])
@pytest.mark.parametrize("name", FAMILIES)
def test_likelihoods_of_many_contexts_at_a_time_are_those_of_one_row(name, beginning, tmp_path, stories):
    speaking(name, tmp_path, stories)
    alive, reference = load(tmp_path), loaded(tmp_path)
    asked = [Continuation(beginning + context, text) for context in CONTEXTS for text in CHOICES]
    asked.append(Continuation(CONTEXTS[0] + " a", " dog"))
    found = alive.log_likelihoods(asked)
    for request, answer in zip(asked, found, strict=True):
        [(context, text)] = alive.tokens.split([(request.context, request.text)])
        with torch.no_grad():
            logits = reference(torch.tensor([context + text]), use_cache=False).logits[0]
        expected = [logits.log_softmax(-1)[len(context) - 1 + k, token] for k, token in enumerate(text)]
        assert answer.total == pytest.approx(sum(expected).item(), rel=1e-5, abs=1e-5)
        assert answer.tokens == len(text)


@pytest.mark.parametrize("name", ["Qwen3", "GPT2", "Mixtral"])
def test_memory_that_is_moved_to_a_device_keeps_its_layout(name, family):
    checkpoint = open_checkpoint(family(name)[0])
    body = build(checkpoint.config, [checkpoint.spec(n) for n in checkpoint], source="here")
    places = dict(body.places)
    move_memory(body.module, places, torch.device("cpu"))
    for disk, place in places.items():
        assert place.data_ptr() != body.places[disk].data_ptr()
        place.copy_(checkpoint.read(disk))
    state = loaded(family(name)[0]).state_dict()
    assert all(tensor.equal(state[memory]) for memory, tensor in body.module.state_dict().items())


def test_a_head_of_its_own_counts_although_the_configuration_ties_it(family, tmp_path):
    first, _ = family("Qwen3")
    shutil.copytree(first, tmp_path / "model")
    checkpoint = open_checkpoint(first)
    tensors = {name: checkpoint.read(name).clone() for name in checkpoint}
    tensors["lm_head.weight"] = torch.randn(99, 16)
    save(Checkpoint.from_tensors(tensors, config=checkpoint.config), tmp_path / "model", overwrite=True)
    check_same(load(tmp_path / "model"), loaded(tmp_path / "model"))


def test_tensors_that_are_missing_or_too_many_are_named(family):
    checkpoint = open_checkpoint(family("Llama")[0])
    tensors = {name: checkpoint.read(name) for name in checkpoint}
    lacking = {name: tensor for name, tensor in tensors.items() if "layers.1.mlp.up" not in name}
    with pytest.raises(CheckpointError, match=r"lacks 1 tensors.*model.layers.1.mlp.up_proj.weight"):
        load(Checkpoint.from_tensors(lacking, config=checkpoint.config))
    with pytest.raises(CheckpointError, match=r"no use for 1 tensors.*feathers"):
        load(Checkpoint.from_tensors(tensors | {"feathers": torch.ones(2)}, config=checkpoint.config))
    misshapen = tensors | {"model.norm.weight": torch.ones(17)}
    with pytest.raises(
        CheckpointError, match=r"another shape.*model.norm.weight \(expected \(16,\), found \(17,\)"
    ):
        load(Checkpoint.from_tensors(misshapen, config=checkpoint.config))
    tied = {**checkpoint.config, "hidden_size": 32, "tie_word_embeddings": True}
    with pytest.raises(CheckpointError, match="another shape"):
        load(Checkpoint.from_tensors(tensors, config=tied))


def test_what_is_no_causal_language_model_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="`model_type` that transformers"):
        load(Checkpoint.from_tensors({"w": torch.ones(2)}))
    with pytest.raises(CheckpointError, match="cannot read the configuration"):
        load(
            Checkpoint.from_tensors(
                {"w": torch.ones(2)}, config={"model_type": "llama", "vocab_size": "many"}
            )
        )
    with pytest.raises(CheckpointError, match="causal language model"):
        load(Checkpoint.from_tensors({"w": torch.ones(2)}, config={"model_type": "clip"}))


def test_old_files_with_frequencies_of_rotary_embeddings_are_no_obstacle(family):
    checkpoint = open_checkpoint(family("Llama")[0])
    tensors = {name: checkpoint.read(name) for name in checkpoint}
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.full((2,), float("nan"))
    old = Checkpoint.from_tensors(tensors, config=checkpoint.config)
    check_same(load(old), loaded(family("Llama")[0]))
