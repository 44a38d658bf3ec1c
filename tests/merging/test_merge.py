"""Models of every form in, a whole model out: on disk or in memory, the same bytes, and its recipe beside it."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import merganser
from merganser import CheckpointError, ConfigError, OutputError, merge, save, verify
from merganser.merging import materialise, read_recipe
from merganser.weights import fingerprint

EMBED, HEAD, NORM = "model.embed_tokens.weight", "lm_head.weight", "model.norm.weight"
Q, UP, IDS = (f"model.layers.0.{part}" for part in ("q_proj.weight", "up_proj.weight", "position_ids"))
SHAPES = {
    EMBED: (11, 6),
    Q: (6, 6),
    UP: (8, 6),
    "model.layers.1.q_proj.weight": (6, 6),
    NORM: (6,),
    HEAD: (11, 6),
}
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "vocab_size": 11,
}
COMPANIONS = {
    "tokenizer.json": '{"version": "1.0", "model": {"type": "BPE"}}',
    "tokenizer_config.json": '{"tokenizer_class": "LlamaTokenizer"}',
    "special_tokens_map.json": '{"eos_token": "</s>"}',
    "generation_config.json": '{"max_length": 20}',
    "chat_template.jinja": "{{ messages }}",
}


def tensors(seed, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    floating = {n: torch.randn(shape, generator=generator).to(dtype) for n, shape in SHAPES.items()}
    return {**floating, IDS: torch.arange(7)}


def mean(*models):
    """The average, element by element, rounded once."""
    return {
        n: torch.stack([m[n].double() for m in models]).mean(0).to(t.dtype) if t.is_floating_point() else t
        for n, t in models[0].items()
    }


def assert_same(found, expected):
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        assert found.read(name).dtype == tensor.dtype
        torch.testing.assert_close(found.read(name), tensor, rtol=1e-6, atol=1e-6)


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def as_folder(state, folder):
    return save(state, folder, config=CONFIG).source


def as_module(state):
    root = nn.Module()
    for name, tensor in state.items():
        *path, leaf = name.split(".")
        module = root
        for part in path:
            if part not in dict(module.named_children()):
                module.add_module(part, nn.Module())
            module = module.get_submodule(part)
        if tensor.is_floating_point():
            module.register_parameter(leaf, nn.Parameter(tensor))
        else:
            module.register_buffer(leaf, tensor)
    return root


def torch_folder(state, folder):
    folder.mkdir()
    torch.save(state, folder / "pytorch_model.bin")
    return folder


def torch_file(state, path):
    torch.save(state, path)
    return path


FORMS = {
    "a folder": as_folder,
    "a path": lambda state, place: Path(as_folder(state, place)),
    "a folder of shards": lambda state, place: save(state, place, config=CONFIG, shard_size=300).source,
    "a file": lambda state, place: save(state, place.with_suffix(".safetensors")).source,
    "a torch file": lambda state, place: str(torch_file(state, place.with_suffix(".bin"))),
    "a torch folder": lambda state, place: str(torch_folder(state, place)),
    "a checkpoint": lambda state, place: save(state, place),
    "a state dict": lambda state, place: state,
    "a module": lambda state, place: as_module(state),
}


@pytest.fixture
def two(tmp_path):
    """References of two models in folders of their own."""
    folders = [tmp_path / "first", tmp_path / "second"]
    for i, folder in enumerate(folders):
        as_folder(tensors(i), folder)
        for name, text in COMPANIONS.items():
            (folder / name).write_text(text if i == 0 else text.replace("}", " }"))
    return [str(folder) for folder in folders]


@pytest.mark.parametrize("out", [None, "out", "out.safetensors"])
@pytest.mark.parametrize("form", FORMS)
def test_models_of_every_form_merge_to_every_place(tmp_path, form, out):
    states = [tensors(0), tensors(1)]
    models = [FORMS[form](state, tmp_path / f"{i}") for i, state in enumerate(states)]
    merged = merge(models, out=None if out is None else tmp_path / out)
    assert_same(merged, mean(*states))
    if out is not None:
        assert merged.path == tmp_path / out
        assert merganser.open(tmp_path / out).digest == merged.digest


def test_models_of_different_forms_merge_with_one_another(tmp_path):
    states = [tensors(i) for i in range(len(FORMS))]
    models = [
        make(state, tmp_path / f"{i}")
        for i, (make, state) in enumerate(zip(FORMS.values(), states, strict=True))
    ]
    assert_same(merge(models), mean(*states))


def write_adapter(folder, module, rows, columns, seed):
    generator = torch.Generator().manual_seed(seed)
    down, up = torch.randn(2, columns, generator=generator), torch.randn(rows, 2, generator=generator)
    prefix = f"base_model.model.{module}"
    save(
        {f"{prefix}.lora_A.weight": down, f"{prefix}.lora_B.weight": up}, folder / "adapter_model.safetensors"
    )
    settings = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    return 2.0 * up.double() @ down.double()


def test_a_base_with_an_adapter_is_a_model_like_any_other(tmp_path, two):
    delta = write_adapter(tmp_path / "adapter", UP.removesuffix(".weight"), 8, 6, seed=5)
    reference = f"{two[1]}+{tmp_path / 'adapter'}"
    second = tensors(1)
    second[UP] = (second[UP].double() + delta).float()
    merged = merge([two[0], reference], out=tmp_path / "out")
    assert_same(merged, mean(tensors(0), second))
    recipe = read_recipe(tmp_path / "out" / "recipe.json")
    assert recipe.ingredients[1].reference == reference
    assert verify(tmp_path / "out").is_same


def test_adapters_of_one_base_merge_into_one_model(tmp_path, two):
    deltas = [
        write_adapter(tmp_path / f"adapter{i}", UP.removesuffix(".weight"), 8, 6, seed=i) for i in (6, 7)
    ]
    tuned = [f"{two[0]}+{tmp_path / f'adapter{i}'}" for i in (6, 7)]
    merged = merge(tuned, "task_arithmetic", base=two[0], weight=[0.5, 2], out=tmp_path / "out")
    expected = tensors(0)
    expected[UP] = (expected[UP].double() + 0.5 * deltas[0] + 2 * deltas[1]).float()
    assert_same(merged, expected)
    assert "tokenizer.json" in names_in(tmp_path / "out")


def test_a_folder_has_weights_configuration_tokenizer_and_recipe_and_nothing_else(tmp_path, two):
    merged = merge(two, out=tmp_path / "deep" / "er" / "out")
    folder = tmp_path / "deep" / "er" / "out"
    assert names_in(folder) == sorted(
        ["README.md", "config.json", "model.safetensors", "recipe.json", *COMPANIONS]
    )
    assert names_in(folder.parent) == ["out"]
    assert json.loads((folder / "config.json").read_text()) == CONFIG == merged.config
    for name, text in COMPANIONS.items():
        assert (folder / name).read_text() == text
    assert set(load_file(folder / "model.safetensors")) == set(merged)
    assert merged.metadata == {"format": "pt"}


def test_a_single_file_stands_alone(tmp_path, two):
    merge(two, out=tmp_path / "out.safetensors")
    assert names_in(tmp_path) == ["first", "out.safetensors", "second"]
    assert set(load_file(tmp_path / "out.safetensors")) == {*SHAPES, IDS}


def test_a_user_s_home_is_found(tmp_path, two, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    merge(two, out="~/out")
    assert set(merganser.open("~/out")) == {*SHAPES, IDS}
    assert verify("~/out").is_same


def test_configuration_and_tokenizer_come_from_the_donor(tmp_path, two):
    (tmp_path / "second" / "config.json").write_text(json.dumps({**CONFIG, "note": "second"}))
    assert merge(two).config == CONFIG
    merged = merge(two, donor=two[1], out=tmp_path / "out")
    assert merged.config["note"] == "second"
    assert (tmp_path / "out" / "tokenizer.json").read_text() == COMPANIONS["tokenizer.json"].replace(
        "}", " }"
    )
    assert read_recipe(tmp_path / "out" / "recipe.json").blueprint.donor == 1
    assert verify(tmp_path / "out").is_same


def test_the_base_is_the_donor_unless_another_is_named(tmp_path, two):
    as_folder(tensors(2, torch.bfloat16), tmp_path / "base")
    from_base = merge(two, "task_arithmetic", base=tmp_path / "base")
    from_first = merge(two, "task_arithmetic", base=tmp_path / "base", donor=two[0])
    assert (from_base.spec(Q).dtype, from_first.spec(Q).dtype) == ("BF16", "F32")
    torch.testing.assert_close(from_first.read(Q).bfloat16(), from_base.read(Q), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("kind", ["state dicts", "modules"])
def test_a_donor_in_memory_is_known_by_being_the_same_object(kind):
    states = [tensors(0), tensors(1, torch.float16)]
    models = states if kind == "state dicts" else [as_module(state) for state in states]
    assert merge(models, donor=models[1]).spec(Q).dtype == "F16"
    with pytest.raises(ValueError, match=r"must be one of the models or the base, but .* is none of them"):
        merge(models, donor=tensors(0))


def test_a_donor_that_is_not_among_the_models_is_refused(tmp_path, two):
    as_folder(tensors(2), tmp_path / "third")
    with pytest.raises(
        ValueError, match=r"must be one of the models or the base, but .*third is none of them"
    ):
        merge(two, donor=tmp_path / "third", out=tmp_path / "out")
    assert "out" not in names_in(tmp_path)


def test_a_base_among_the_models_is_refused(tmp_path, two):
    for base in (two[0], Path(two[0]), merganser.open(two[0])):
        with pytest.raises(ValueError, match="first is the base and among the models too"):
            merge(two, "ties", base=base, out=tmp_path / "out")
    states = [tensors(0), tensors(1)]
    with pytest.raises(ValueError, match="is the base and among the models too"):
        merge(states, "ties", base=states[0])


def test_the_same_model_twice_is_itself(tmp_path, two):
    merged = merge([two[0], two[0]], out=tmp_path / "out")
    assert merged.digest == merganser.open(two[0]).digest
    assert verify(tmp_path / "out").is_same


def test_one_model_alone_is_itself(two):
    assert merge([two[0]], "linear", weight=3).digest == merganser.open(two[0]).digest


@pytest.mark.parametrize(
    ("models", "error", "message"),
    [
        ([], ValueError, "at least 1 model"),
        (
            [3],
            TypeError,
            "must be a path or hub id, a checkpoint, a state dict or a torch module, but is int",
        ),
        ([None, None], TypeError, "but is NoneType"),
        ([{"w": 3}], TypeError, "'w' must be a torch tensor or a numpy array"),
    ],
)
def test_what_is_no_model_is_refused(models, error, message):
    with pytest.raises(error, match=message):
        merge(models)


@pytest.mark.parametrize("kind", ["a reference", "a path", "a state dict", "a checkpoint", "a module"])
def test_a_model_in_the_place_of_several_is_refused(two, kind):
    one = {
        "a reference": two[0],
        "a path": Path(two[0]),
        "a state dict": tensors(0),
        "a module": nn.Sequential(),
    }
    with pytest.raises(
        TypeError, match=r"Expected a sequence of models, found a single .* Put it into a list"
    ):
        merge(one.get(kind, merganser.open(two[0])))


@pytest.mark.parametrize("dtype", ["bfloat16", "torch.bfloat16", torch.bfloat16])
def test_an_element_type_that_is_asked_for_is_written_and_said_in_the_configuration(tmp_path, two, dtype):
    merged = merge(two, dtype=dtype, out=tmp_path / "out")
    expected = {
        n: t.bfloat16() if t.is_floating_point() else t for n, t in mean(tensors(0), tensors(1)).items()
    }
    for name, tensor in expected.items():
        assert merged.read(name).equal(tensor)
    assert merged.config["torch_dtype"] == "bfloat16"
    assert read_recipe(tmp_path / "out" / "recipe.json").blueprint.dtype == "bfloat16"
    assert verify(tmp_path / "out").is_same


def test_the_configuration_says_the_type_under_whatever_key_it_has_and_adds_none(tmp_path):
    state = tensors(0)
    configs = [
        {"dtype": "float32"},
        {"model_type": "x"},
        {"text_config": {"torch_dtype": "float32"}, "dtype": "float32"},
    ]
    found = [
        dict(merge([save(state, tmp_path / f"{i}", config=config)], dtype="float16").config)
        for i, config in enumerate(configs)
    ]
    assert found == [
        {"dtype": "float16"},
        {"model_type": "x"},
        {"text_config": {"torch_dtype": "float16"}, "dtype": "float16"},
    ]


def test_types_of_the_donor_are_kept_tensor_by_tensor(tmp_path):
    mixed = {**tensors(0, torch.bfloat16), NORM: tensors(0)[NORM]}
    models = [save(mixed, tmp_path / "mixed", config=CONFIG), tensors(1)]
    merged = merge(models, out=tmp_path / "out")
    assert (merged.spec(Q).dtype, merged.spec(NORM).dtype) == ("BF16", "F32")
    assert merged.config["torch_dtype"] == "float32"


@pytest.mark.parametrize("dtype", ["int8", "float12", ""])
def test_an_element_type_that_cannot_be_merged_into_is_refused(tmp_path, two, dtype):
    with pytest.raises(ValueError, match="`dtype` must be one of float64, float32, float16, bfloat16"):
        merge(two, dtype=dtype, out=tmp_path / "out")


def test_shards_have_the_size_and_the_index_that_other_tools_expect(tmp_path, two):
    merged = merge(two, shard_size=300, out=tmp_path / "out")
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    shards = sorted(set(index["weight_map"].values()))
    count = len(shards)
    assert count > 2
    assert shards == [f"model-{i:05d}-of-{count:05d}.safetensors" for i in range(1, count + 1)]
    assert set(index["weight_map"]) == set(merged)
    assert index["metadata"]["total_size"] == sum(merged.spec(name).nbytes for name in merged)
    for shard in shards:
        loaded = load_file(tmp_path / "out" / shard)
        assert all(index["weight_map"][name] == shard for name in loaded)
        assert len(loaded) == 1 or sum(t.nbytes for t in loaded.values()) <= 300


METHODS = {
    "linear": {"weight": [0.3, 0.7]},
    "slerp": {"t": 0.4},
    "ties": {"density": 0.5},
    "dare_linear": {"density": 0.5},
    "model_stock": {},
}


@pytest.mark.parametrize("method", METHODS)
def test_workers_shards_and_place_change_no_bit(tmp_path, two, method):
    base = None if method in ("linear", "slerp") else save(tensors(9), tmp_path / "base", config=CONFIG)
    options = {"base": base, **METHODS[method]}
    expected = merge(two, method, workers=1, **options).digest
    for workers in (1, 2):
        places = {"one": {}, "many": {"shard_size": 1}, "none": {"shard_size": None}, "file.safetensors": {}}
        for place, how in places.items():
            out = tmp_path / f"{workers}" / place
            merged = merge(two, method, out=out, workers=workers, **how, **options)
            assert merganser.open(out).digest == merged.digest == expected
        whole = [(tmp_path / f"{workers}" / place / "recipe.json").read_text() for place in ("one", "many")]
        assert whole[0] == whole[1]
        assert verify(tmp_path / f"{workers}" / "many", workers=3 - workers).is_same


def test_the_models_are_left_as_they_were(tmp_path, two):
    state, module = tensors(1), as_module(tensors(0))
    before = {name: tensor.clone() for name, tensor in state.items()}
    files = {file: file.read_bytes() for folder in two for file in Path(folder).iterdir()}
    base = merganser.open(two[0])
    merge([state, module, two[1]], "dare_ties", base=base, density=0.5, out=tmp_path / "out")
    assert all(tensor.equal(before[name]) for name, tensor in state.items())
    assert all(tensor.equal(tensors(0)[name]) for name, tensor in module.state_dict().items())
    assert all(file.read_bytes() == content for file, content in files.items())
    assert torch.get_num_threads() >= 1


def test_a_result_in_memory_shares_nothing_with_the_models():
    state = tensors(0)
    merged = merge([state], "passthrough")
    merged.read(Q).zero_()
    assert state[Q].equal(tensors(0)[Q])


def test_the_recipe_says_everything_that_was_done(tmp_path, two):
    save(tensors(9), tmp_path / "base", config=CONFIG)
    merge(
        two,
        "dare_ties",
        base=tmp_path / "base",
        weight=[1, 0.5],
        seed=7,
        dtype="float16",
        out=tmp_path / "out",
    )
    written = json.loads((tmp_path / "out" / "recipe.json").read_text())
    assert written == {
        "format": "merganser/merge",
        "version": 1,
        "written_by": f"merganser {merganser.__version__}",
        "models": [
            {
                "reference": str(folder),
                "fingerprint": fingerprint(merganser.open(folder)),
                "digest": None,
            }
            for folder in (tmp_path / "base", *two)
        ],
        "method": "dare_ties",
        "dialect": "merganser",
        "formulas": "papers",
        "base": 0,
        "donor": 0,
        "dtype": "float16",
        "seed": 7,
        "parameters": {"density": 0.5, "normalize": False, "rescale": "exact", "lambda": 1.0},
        "modules": [
            {
                "slices": [
                    {
                        "sources": [
                            {"model": 1, "parameters": {"weight": 1.0}},
                            {"model": 2, "parameters": {"weight": 0.5}},
                        ]
                    }
                ]
            }
        ],
    }


def test_references_in_the_recipe_open_from_anywhere(tmp_path, two, monkeypatch):
    monkeypatch.chdir(tmp_path)
    merge(["first", "./second"], out="out")
    monkeypatch.chdir("/")
    assert [each.reference for each in read_recipe(tmp_path / "out" / "recipe.json").ingredients] == two
    assert verify(tmp_path / "out").is_same


def test_the_recipe_alone_builds_the_model_again(tmp_path, two):
    merged = merge(two, "slerp", t=0.3, out=tmp_path / "out")
    again = materialise(read_recipe(tmp_path / "out" / "recipe.json"), out=tmp_path / "again")
    assert again.digest == merged.digest
    assert names_in(tmp_path / "again") == names_in(tmp_path / "out")


def test_another_seed_draws_otherwise_and_the_same_the_same(two):
    base = tensors(9)
    digests = [merge(two, "dare_linear", base=base, seed=seed).digest for seed in (0, 1, 0, -1, 2**70)]
    assert digests[0] == digests[2]
    assert len(set(digests)) == 4


def test_progress_grows_to_the_whole(tmp_path, two):
    for method, options in {"linear": {}, "ties": {"base": tensors(9)}}.items():
        seen = []
        merge(two, method, out=tmp_path / method, shard_size=300, workers=2, progress=seen.append, **options)
        done = [step.done for step in seen]
        assert done == sorted(done)
        assert done[-1] == seen[-1].total
        assert {step.total for step in seen} == {seen[0].total}


class TestOverwriting:
    def test_what_is_there_is_left_alone_unless_it_may_be_replaced(self, tmp_path, two):
        for out in (tmp_path / "out", tmp_path / "out.safetensors"):
            before = merge(two, out=out).digest
            with pytest.raises(OutputError, match=r"exists already\. Choose another path, or allow"):
                merge(two, out=out, weight=[1, 0])
            assert merganser.open(out).digest == before
            after = merge(two, out=out, weight=[1, 0], overwrite=True)
            assert after.digest == merganser.open(out).digest == merganser.open(two[0]).digest
        assert names_in(tmp_path) == ["first", "out", "out.safetensors", "second"]

    def test_nothing_of_the_old_stays(self, tmp_path, two):
        merge(two, out=tmp_path / "out", shard_size=1)
        (tmp_path / "out" / "notes.txt").touch()
        merge(two, out=tmp_path / "out", overwrite=True)
        assert names_in(tmp_path / "out") == sorted(
            ["README.md", "config.json", "model.safetensors", "recipe.json", *COMPANIONS]
        )

    @pytest.mark.parametrize("overwrite", [False, True])
    def test_a_folder_of_other_things_is_never_replaced(self, tmp_path, two, overwrite):
        (tmp_path / "letters").mkdir()
        (tmp_path / "letters" / "love.txt").write_text("dear")
        (tmp_path / "plain").write_text("text")
        for name in ("letters", "plain"):
            message = "is no folder with a checkpoint" if overwrite else "exists already"
            with pytest.raises(OutputError, match=message):
                merge(two, out=tmp_path / name, overwrite=overwrite)
        (tmp_path / "folder.safetensors").mkdir()
        with pytest.raises(OutputError, match=r"exists already|Is a directory"):
            merge(two, out=tmp_path / "folder.safetensors", overwrite=overwrite)
        assert (tmp_path / "letters" / "love.txt").read_text() == "dear"
        assert names_in(tmp_path) == ["first", "folder.safetensors", "letters", "plain", "second"]

    def test_an_empty_folder_may_be_replaced(self, tmp_path, two):
        (tmp_path / "out").mkdir()
        assert_same(merge(two, out=tmp_path / "out", overwrite=True), mean(tensors(0), tensors(1)))

    def test_a_merge_may_take_the_place_of_one_of_its_models(self, tmp_path, two):
        merged = merge(two, out=two[0], overwrite=True)
        assert_same(merged, mean(tensors(0), tensors(1)))
        assert (tmp_path / "first" / "tokenizer.json").read_text() == COMPANIONS["tokenizer.json"]
        with pytest.raises(ConfigError, match="is not the model that the recipe was made with"):
            verify(two[0])


def flip_a_bit(folder, name):
    """Change the last bit of a tensor's first byte, wherever it lies."""
    for file in folder.glob("*.safetensors"):
        raw = bytearray(file.read_bytes())
        length = int.from_bytes(raw[:8], "little")
        header = json.loads(raw[8 : 8 + length])
        if name in header:
            raw[8 + length + header[name]["data_offsets"][0]] ^= 1
            file.write_bytes(raw)


class TestVerifying:
    @pytest.mark.parametrize("name", [EMBED, Q, NORM, HEAD, IDS])
    def test_a_single_flipped_bit_is_found_and_its_tensor_named(self, tmp_path, two, name):
        merge(two, out=tmp_path / "out", shard_size=300)
        found = verify(tmp_path / "out")
        assert (found.is_same, found.tensors, found.different) == (True, 7, ())
        flip_a_bit(tmp_path / "out", name)
        assert verify(tmp_path / "out").different == (name,)

    def test_several_changes_are_all_named(self, tmp_path, two):
        merge(two, out=tmp_path / "out")
        for name in (Q, HEAD):
            flip_a_bit(tmp_path / "out", name)
        assert set(verify(tmp_path / "out").different) == {Q, HEAD}

    def test_tensors_of_one_side_and_of_other_types_are_named(self, tmp_path, two):
        merged = merge(two, out=tmp_path / "out")
        state = {name: merged.read(name).clone() for name in merged if name != UP}
        state |= {Q: state[Q].half(), NORM: state[NORM][:3], "extra": torch.ones(1)}
        save(state, tmp_path / "out" / "model.safetensors", overwrite=True)
        found = verify(tmp_path / "out")
        assert set(found.different) == {UP, Q, NORM, "extra"}
        assert found.tensors == 4

    def test_nothing_is_written(self, tmp_path, two):
        merge(two, out=tmp_path / "out")
        before = {file: (file.stat().st_mtime_ns, file.stat().st_ino) for file in tmp_path.rglob("*")}
        verify(tmp_path / "out")
        assert {file: (file.stat().st_mtime_ns, file.stat().st_ino) for file in tmp_path.rglob("*")} == before

    def test_a_replaced_model_is_found_out(self, tmp_path, two):
        merge(two, out=tmp_path / "out")
        save(tensors(5), two[1], config=CONFIG, overwrite=True)
        with pytest.raises(
            ConfigError, match="second is not the model that the recipe was made with: its fing"
        ):
            verify(tmp_path / "out")

    def test_a_change_too_small_for_a_fingerprint_is_found_out_by_the_result_or_by_digest(self, tmp_path):
        long = {"w": torch.arange(5000.0)}
        models = [save(long, tmp_path / "long"), long]
        merge(models[:1], out=tmp_path / "out")
        merge(models[:1], out=tmp_path / "named", digests=True)
        assert verify(tmp_path / "named").is_same
        long["w"][1000] += 1
        save(long, tmp_path / "long", overwrite=True)
        assert verify(tmp_path / "out").different == ("w",)
        with pytest.raises(ConfigError, match="is not the model that the recipe was made with"):
            verify(tmp_path / "named")

    def test_moved_models_are_given_as_arguments_the_base_first(self, tmp_path, two):
        save(tensors(9), tmp_path / "base", config=CONFIG)
        merge(two, "ties", base=tmp_path / "base", out=tmp_path / "out")
        (tmp_path / "first").rename(tmp_path / "moved")
        with pytest.raises(ConfigError, match=r"cannot be opened\. Give where the models are now"):
            verify(tmp_path / "out")
        moved = [tmp_path / "base", tmp_path / "moved", two[1]]
        assert verify(tmp_path / "out", moved).is_same
        with pytest.raises(ConfigError, match="is not the model that the recipe was made with"):
            verify(tmp_path / "out", moved[::-1])
        with pytest.raises(ConfigError, match="names 3 models, the base first, but 2 were given"):
            verify(tmp_path / "out", moved[1:])

    def test_models_that_were_only_in_memory_must_be_given(self, tmp_path):
        states = [tensors(0), tensors(1)]
        merge([as_module(states[0]), states[1]], out=tmp_path / "out")
        with pytest.raises(ConfigError, match="only in memory, so nobody knows where they are"):
            verify(tmp_path / "out")
        assert verify(tmp_path / "out", states).is_same
        assert verify(tmp_path / "out", [states[0], save(states[1], tmp_path / "second")]).is_same

    def test_a_folder_without_a_recipe_is_refused(self, tmp_path, two):
        for folder in (Path(two[0]), tmp_path / "nowhere"):
            with pytest.raises(ConfigError, match=r"Cannot read the recipe .*recipe\.json: No such file"):
                verify(folder)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"version": 2}, "version 2. Was it written by a newer release"),
            ({"format": "merganser/other"}, "found 'merganser/other'"),
            ({"models": 3}, "is no recipe"),
            ({"models": []}, "is no recipe"),
            ({"models": [{"reference": "x"}]}, "is no recipe"),
            ({"models": [{"reference": 3, "fingerprint": "f", "digest": None}]}, "is no recipe"),
            ({"base": 3}, "is no recipe"),
            ({"method": ["linear"]}, "is no recipe"),
            ({"parameters": 3}, "is no recipe"),
            ({"donor": 2}, "is no recipe"),
            ({"donor": -1}, "is no recipe"),
            ({"donor": "first"}, "is no recipe"),
            ({"dialect": "latin"}, "is no recipe"),
            ({"formulas": "mergekit"}, "is no recipe"),
            ({"modules": []}, "is no recipe"),
            ({"modules": [{"slices": []}]}, "is no recipe"),
            ({"modules": [{"slices": [{"sources": []}]}]}, "is no recipe"),
            ({"modules": [{"slices": [{"sources": [{"model": 7}]}]}]}, "is no recipe"),
            ({"modules": [{"slices": [{"sources": [{"model": True}]}]}]}, "is no recipe"),
            ({"modules": [{"slices": [{"sources": [{"model": 0, "blocks": [1]}]}]}]}, "is no recipe"),
            ({"parameters": {"weight": [{"value": []}]}}, "is no recipe"),
            ({"parameters": {"weight": {"value": 1}}}, "is no recipe"),
            ({"dtype": 16}, "is no recipe"),
            ({"seed": "x"}, "is no recipe"),
        ],
        ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
    )
    def test_a_recipe_of_another_kind_is_refused(self, tmp_path, two, change, message):
        merge(two, out=tmp_path / "out")
        file = tmp_path / "out" / "recipe.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
        with pytest.raises(ConfigError, match=message) as caught:
            verify(tmp_path / "out")
        assert str(file) in str(caught.value)

    @pytest.mark.parametrize("text", ["", "[]", "{}", "{", "[" * 100_000, "\x00"], ids=lambda text: text[:3])
    def test_a_recipe_that_is_no_json_object_is_refused(self, tmp_path, two, text):
        merge(two, out=tmp_path / "out")
        (tmp_path / "out" / "recipe.json").write_text(text)
        with pytest.raises(ConfigError, match=r"recipe\.json is no recipe"):
            verify(tmp_path / "out")

    def test_a_result_that_is_damaged_is_a_checkpoint_error(self, tmp_path, two):
        merge(two, out=tmp_path / "out")
        file = tmp_path / "out" / "model.safetensors"
        file.write_bytes(file.read_bytes()[:-1])
        with pytest.raises(CheckpointError, match="cut short"):
            verify(tmp_path / "out")


def tied(state):
    return {name: tensor for name, tensor in state.items() if name != HEAD}


class TestTiedHeads:
    def test_two_tied_models_stay_tied(self, tmp_path):
        config = {**CONFIG, "tie_word_embeddings": True}
        models = [save(tied(tensors(i)), tmp_path / f"{i}", config=config) for i in range(2)]
        merged = merge(models, out=tmp_path / "out")
        assert_same(merged, tied(mean(tensors(0), tensors(1))))
        assert merged.config == config

    @pytest.mark.parametrize(
        "config",
        [
            {"tie_word_embeddings": True},
            {"architectures": ["GemmaForCausalLM"]},
            {"text_config": {"tie_word_embeddings": True}},
        ],
        ids=["said", "of the family", "said of the text model"],
    )
    def test_a_tied_donor_and_a_model_with_a_head_give_one_with_a_head(self, tmp_path, config):
        states = [tensors(0), tensors(1)]
        donor = save(tied(states[0]), tmp_path / "donor", config={"model_type": "x", **config})
        other = save(states[1], tmp_path / "other", config=CONFIG)
        merged = merge([donor, other], out=tmp_path / "out")
        assert_same(merged, mean({**states[0], HEAD: states[0][EMBED]}, states[1]))
        assert merged.config["tie_word_embeddings"] is False
        assert merged.config.get("text_config", {}).get("tie_word_embeddings") in (None, False)
        assert merge([donor, other]).config == merged.config
        assert verify(tmp_path / "out").is_same

    def test_a_donor_with_a_head_and_a_tied_model_give_one_with_a_head(self, tmp_path):
        states = [tensors(0), tensors(1)]
        other = save(tied(states[1]), tmp_path / "other", config={**CONFIG, "tie_word_embeddings": True})
        merged = merge([save(states[0], tmp_path / "donor", config=CONFIG), other], out=tmp_path / "out")
        assert_same(merged, mean(states[0], {**states[1], HEAD: states[1][EMBED]}))
        assert merged.config["tie_word_embeddings"] is False

    @pytest.mark.parametrize("out", [None, "out", "out.safetensors"])
    def test_a_tie_in_a_module_is_noted_in_the_result(self, tmp_path, out):
        modules = [as_module(tensors(i)) for i in range(2)]
        for module in modules:
            module.lm_head.weight = module.model.embed_tokens.weight
        merged = merge(modules, out=None if out is None else tmp_path / out)
        assert HEAD not in merged
        assert merged.tied == {HEAD: EMBED}
        again = merge([merged, merged])
        assert (again.digest, again.tied) == (merged.digest, merged.tied)

    def test_a_note_of_a_tie_goes_where_the_tie_goes(self, tmp_path):
        module = as_module(tensors(0))
        module.lm_head.weight = module.model.embed_tokens.weight
        merged = merge([module, tensors(1)], out=tmp_path / "out.safetensors")
        assert HEAD in merged
        assert (merged.tied, merged.metadata) == ({}, {"format": "pt"})
        shutil.copy(tmp_path / "out.safetensors", tmp_path / "copy.safetensors")
        assert_same(
            merganser.open(tmp_path / "copy.safetensors"),
            mean({**tensors(0), HEAD: tensors(0)[EMBED]}, tensors(1)),
        )
