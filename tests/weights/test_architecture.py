"""The parts of a model are read off its names, shapes and configuration, and described where these do not speak."""

import numpy as np
import pytest

from merganser import CheckpointError, ConfigError
from merganser.weights import Architecture, Checkpoint, check_aligned, read_architecture

V, H = 11, 4
BLOCK = {"self_attn.q_proj.weight": (H, H), "self_attn.q_proj.bias": (H,), "input_layernorm.weight": (H,)}


def stacked(prefix, parts=BLOCK, count=2):
    return {f"{prefix}.{i}.{name}": shape for i in range(count) for name, shape in parts.items()}


LLAMA = {
    "model.embed_tokens.weight": (V, H),
    **stacked("model.layers"),
    "model.norm.weight": (H,),
    "lm_head.weight": (V, H),
}
MODELS = {
    "llama": (LLAMA, {"vocab_size": V}, {"model.embed_tokens.weight": 0, "lm_head.weight": 0}),
    "gpt2": (
        {"wte.weight": (V, H), "wpe.weight": (V, H), **stacked("h", {"attn.c_attn.weight": (H, V)}), "ln_f.bias": (V,)},
        {"vocab_size": V},
        {"wte.weight": 0},
    ),
    "gpt-j": (
        {"transformer.wte.weight": (V, H), "lm_head.weight": (V, H), "lm_head.bias": (V,)},
        {},
        {"transformer.wte.weight": 0, "lm_head.weight": 0, "lm_head.bias": 0},
    ),
    "gpt-neox": (
        {"gpt_neox.embed_in.weight": (V, H), **stacked("gpt_neox.layers"), "embed_out.weight": (V, H)},
        {},
        {"gpt_neox.embed_in.weight": 0, "embed_out.weight": 0},
    ),
    "bert": (
        {
            "bert.embeddings.word_embeddings.weight": (V, H),
            "bert.embeddings.position_embeddings.weight": (V, H),
            "bert.embeddings.LayerNorm.weight": (H,),
            **stacked("bert.encoder.layer"),
            "cls.predictions.bias": (V,),
            "cls.predictions.transform.LayerNorm.bias": (H,),
        },
        {"vocab_size": V},
        {"bert.embeddings.word_embeddings.weight": 0, "cls.predictions.bias": 0},
    ),
    "bart": (
        {
            "shared.weight": (V, H),
            "final_logits_bias": (1, V),
            **stacked("encoder.layers"),
            **stacked("decoder.layers", count=3),
        },
        {"vocab_size": V},
        {"shared.weight": 0, "final_logits_bias": 1},
    ),
    "llava": (
        {f"language_model.{name}": shape for name, shape in LLAMA.items()} | stacked("vision_tower.encoder.layers"),
        {"text_config": {"vocab_size": V}},
        {"language_model.model.embed_tokens.weight": 0, "language_model.lm_head.weight": 0},
    ),
    "speech": ({**stacked("encoder.layers"), "lm_head.weight": (V, H)}, {"vocab_size": V}, {"lm_head.weight": 0}),
    "digits": ({"hidden.weight": (H, 64), "output.weight": (10, H), "output.bias": (10,)}, {}, {}),
    "vit": ({"embeddings.patch_embeddings.weight": (H, 3, 2, 2), **stacked("layer"), "score.weight": (9, H)}, {}, {}),
}  # fmt: skip


def model(shapes, config=None, *, tied=None, source="memory"):
    held = Checkpoint.from_tensors({name: np.zeros(shape, "float32") for name, shape in shapes.items()})
    return Checkpoint(held.tensors, source=source, config=config or {}, tied=tied or {})


@pytest.mark.parametrize("name", MODELS)
def test_the_vocabularys_axes_are_those_of_embeddings_heads_and_biases(name):
    shapes, config, axes = MODELS[name]
    found = Architecture.of(model(shapes, config))
    assert dict(found.axes) == axes
    assert {tensor: found.vocabulary_axis(tensor) for tensor in shapes} == dict.fromkeys(shapes) | axes
    assert found.vocabulary == (V if axes else None)


def test_every_stream_has_its_blocks():
    found = Architecture.of(model(MODELS["bart"][0]))
    assert [(stream.pattern, len(stream.blocks)) for stream in found.streams] == [
        ("encoder.layers.{}", 2),
        ("decoder.layers.{}", 3),
    ]
    assert found.blocks == (
        *(f"encoder.layers.{i}" for i in range(2)),
        *(f"decoder.layers.{i}" for i in range(3)),
    )
    assert Architecture.of(model({"0.weight": (2, 2), "1.weight": (2, 2)})).streams[0].pattern == "{}"


def test_embeddings_and_head_are_the_layers_of_that_kind():
    found = Architecture.of(model(MODELS["gpt2"][0] | {"lm_head.weight": (V, H)}))
    assert (found.embeddings, found.head) == (("wte.weight", "wpe.weight"), ("lm_head.weight",))


@pytest.mark.parametrize(
    ("config", "tied"),
    [
        ({"tie_word_embeddings": True}, {"lm_head.weight": "model.embed_tokens.weight"}),
        ({"text_config": {"tie_word_embeddings": True}}, {"lm_head.weight": "model.embed_tokens.weight"}),
        ({"architectures": ["GemmaForCausalLM"]}, {"lm_head.weight": "model.embed_tokens.weight"}),
        ({"architectures": ["GemmaForCausalLM"], "tie_word_embeddings": False}, {}),
        ({"architectures": ["LlamaForSequenceClassification"]}, {}),
        ({}, {}),
    ],
)
def test_a_missing_head_is_tied_where_the_configuration_says_or_means_it(config, tied):
    shapes = {name: shape for name, shape in LLAMA.items() if name != "lm_head.weight"}
    found = Architecture.of(model(shapes, config))
    assert dict(found.tied) == tied
    assert found.vocabulary_axis("lm_head.weight") == (0 if tied else None)
    assert dict(Architecture.of(model(LLAMA, config)).tied) == {}


def test_noted_ties_count_and_parts_keep_their_prefix():
    shapes = {"language_model.model.embed_tokens.weight": (V, H)}
    found = Architecture.of(model(shapes, {"tie_word_embeddings": True}, tied={"a": "b"}))
    assert found.tied == {
        "a": "b",
        "language_model.lm_head.weight": "language_model.model.embed_tokens.weight",
    }


def test_a_configuration_that_contradicts_the_tensors_is_an_error():
    with pytest.raises(
        CheckpointError, match=r"says `vocab_size` 12, but 'model\.embed_tokens\.weight' has 11 rows"
    ):
        Architecture.of(model(LLAMA, {"vocab_size": 12}))


STRANGE = {
    "symbols.table": (H, V), "answer.weight": (V, H), "enc.0.w": (2, 2), "enc.10.w": (2, 2), "enc.9.w": (2, 2),
    "enc.x.w": (2, 2), "dec.0.w": (2, 2),
}  # fmt: skip


class TestDescription:
    def described(self, tmp_path, text, shapes=STRANGE):
        (tmp_path / "a.yaml").write_text(text)
        return Architecture.of(model(shapes), read_architecture(tmp_path / "a.yaml"))

    def test_what_is_said_counts_before_what_is_read(self, tmp_path):
        found = self.described(
            tmp_path,
            """
            architecture:
              blocks: ["enc.{}", "dec.{}"]
              embeddings: ["symbols.table"]
              head: ["answer.*"]
              tied: {echo: symbols.table}
              vocabulary_axis: {symbols.table: 1, "answer.weight": null}
            """,
        )
        assert [stream.blocks for stream in found.streams] == [("enc.0", "enc.9", "enc.10"), ("dec.0",)]
        assert (found.embeddings, found.head) == (("symbols.table",), ("answer.weight",))
        assert found.tied == {"echo": "symbols.table"}
        assert (found.vocabulary, dict(found.axes)) == (V, {"symbols.table": 1})
        assert found.vocabulary_axis("echo") == 1

    def test_what_is_left_out_is_read_off(self, tmp_path):
        described = self.described(tmp_path, "architecture: {head: [lm_head.weight]}", LLAMA)
        assert described == Architecture.of(model(LLAMA))

    def test_the_rest_of_the_axes_follows_from_the_one_described(self, tmp_path):
        text = "architecture: {vocabulary_axis: {symbols.table: 1}, head: [answer.weight]}"
        assert dict(self.described(tmp_path, text).axes) == {"symbols.table": 1, "answer.weight": 0}

    def test_a_described_axis_settles_a_contradiction(self, tmp_path):
        (tmp_path / "a.yaml").write_text("architecture: {vocabulary_axis: {model.embed_tokens.weight: 0}}")
        found = Architecture.of(model(LLAMA, {"vocab_size": 12}), read_architecture(tmp_path / "a.yaml"))
        assert found.vocabulary == V

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("architecture: {heads: []}", r"unknown key `architecture\.heads`\. Did you mean `head`\?"),
            ("architecture: {zzz: []}", "Known keys under `architecture`: blocks, embeddings, head, tied"),
            ("architectur: {}", "expected the key `architecture`, but found"),
            ("architecture: {}\nversion: 1", "unknown key `version`"),
            ("[1]", r"expected the key `architecture`, but found \[1\]"),
            ("architecture: {blocks: enc}", r"`architecture\.blocks`: .* but found 'enc'"),
            (
                "architecture: {vocabulary_axis: {a: b}}",
                r"`architecture\.vocabulary_axis\.a`: .* but found 'b'",
            ),
            ("a: [", "is not valid YAML"),
            ("architecture: {blocks: [enc]}", r"needs one \{\} for the block's number, but is 'enc'"),
            (
                "architecture: {blocks: ['en.{}']}",
                r"`blocks` names 'en\.\{\}', but memory has no such tensor",
            ),
            ("architecture: {head: [anser.weight]}", r"no such tensor\. Did you mean 'answer\.weight'\?"),
            ("architecture: {head: [zzzzz]}", r"Look at the names with `list\(checkpoint\)`"),
            ("architecture: {tied: {a: table}}", "`tied` names 'table', but"),
            (
                "architecture: {vocabulary_axis: {symbols.table: 2}}",
                r"must be from 0 to 1, .* shape \(4, 11\), but is 2",
            ),
        ],
    )
    def test_mistakes_are_named_with_the_right_way(self, tmp_path, text, message):
        with pytest.raises(ConfigError, match=rf"a\.yaml.*{message}"):
            self.described(tmp_path, text)

    def test_a_file_that_is_not_there_is_named(self, tmp_path):
        with pytest.raises(ConfigError, match=r"Cannot read .*absent\.yaml"):
            read_architecture(tmp_path / "absent.yaml")


class TestMisalignment:
    """What keeps two models from being combined is said in their own terms."""

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"model.embed_tokens.weight": (14, H)}, r"in B\. The vocabularies differ: 11 against 14 rows"),
            ({"model.embed_tokens.weight": (14, 5)}, r"in B\. Models to combine must share one architecture"),
            (
                {"lm_head.weight": None},
                r"not in B\. There it is tied to 'model\.embed_tokens\.weight': tie both",
            ),
            (stacked("model.layers", count=3), "They have 3 and 2 blocks"),
            (
                {"model.norm.weight": None, "norm.weight": (H,)},
                r"'model\.norm\.weight' is in A, but not in B\. There it may be called 'norm\.weight'",
            ),
            ({"model.odd": (2,)}, r"not in A\. Models to combine must share one architecture and its names"),
        ],
    )
    def test_the_message_says_what_differs(self, changes, message):
        shapes = {name: shape for name, shape in (LLAMA | changes).items() if shape is not None}
        with pytest.raises(ValueError, match=message):
            check_aligned(
                [model(LLAMA, source="A"), model(shapes, {"tie_word_embeddings": True}, source="B")]
            )
