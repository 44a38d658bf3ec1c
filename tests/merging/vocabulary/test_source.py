"""Tables in another order: whatever is asked for, in whatever pieces, it is what the plan says, and streamed."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from merganser import CheckpointError
from merganser.merging import Engine, plan_merge
from merganser.merging.vocabulary import VocabularyRules, plan_vocabulary
from merganser.merging.vocabulary import _source as source_module
from merganser.merging.vocabulary._rows import NONE, Rows, plan_rows
from merganser.merging.vocabulary._source import RearrangedSource
from merganser.weights import Architecture, Checkpoint, Execution, open_checkpoint, save

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
TYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F64": torch.float64}


@st.composite
def situations(draw):
    """Vocabularies of two or three models, and of a result."""
    letters = "abcdefghij"
    count = draw(st.integers(2, 3))
    vocabularies = []
    for _ in range(count):
        tokens = draw(st.lists(st.sampled_from(letters), min_size=1, max_size=8, unique=True))
        vocabularies.append({token: i for i, token in enumerate(tokens)})
    tokens = draw(st.lists(st.sampled_from(letters), min_size=1, max_size=10, unique=True))
    ids = draw(st.permutations(range(len(tokens) + 2)))[: len(tokens)]
    result = dict(zip(tokens, ids, strict=True))
    size = max(ids) + 1 + draw(st.integers(0, 3))
    return vocabularies, result, size, draw(st.sampled_from([None, 0, 1]))


def expected_rows(tables, vocabularies, result, size, base):
    """Every model's table by the rules, token by token."""
    found = []
    for table, vocabulary in zip(tables, vocabularies, strict=True):
        rows = np.zeros((size, table.shape[1]))
        for token, i in result.items():
            owners = [k for k, other in enumerate(vocabularies) if token in other]
            if token in vocabulary:
                rows[i] = table[vocabulary[token]]
            elif base in owners:
                rows[i] = tables[base][vocabularies[base][token]]
            elif owners:
                rows[i] = np.mean([tables[k][vocabularies[k][token]] for k in owners], axis=0)
        others = sorted(set(range(size)) - set(result.values()))
        rows[others] = rows[sorted(result.values())].mean(axis=0)
        found.append(rows)
    return found


def architecture(axes):
    return Architecture((), tuple(axes), (), {}, None, axes)


@given(situations(), st.data(), st.sampled_from(list(TYPES)), st.integers(1, 3))
def test_any_range_of_any_table_is_what_the_rules_say(situation, data, stored, step):
    vocabularies, result, size, base = situation
    rng = np.random.default_rng(len(result))
    tables = [rng.normal(size=(len(v) + 1, 3)) for v in vocabularies]  # the last row is no token's
    shapes = {
        "rows": lambda t: t,
        "columns": lambda t: t.T,
        "middle": lambda t: np.stack([t, -t]),
        "bias": lambda t: t[:, 0],
    }
    axes = {"rows": 0, "columns": 1, "middle": 1, "bias": 0}
    models = []
    for table in tables:
        tensors = {
            name: torch.tensor(np.ascontiguousarray(f(table))).to(TYPES[stored]) for name, f in shapes.items()
        }
        models.append(Checkpoint.from_tensors({**tensors, "other": torch.ones(2, dtype=torch.int8)}))
    tables = [model.array("rows").astype(np.float64) for model in models]
    expected = expected_rows(tables, vocabularies, result, size, base)
    plans = plan_rows(result, size, vocabularies, base=base)
    for i, table in enumerate(expected):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(source_module, "BLOCK", step * 3)
            source = RearrangedSource(models, [architecture(axes)] * len(models), i, plans[i])
            found = Checkpoint(source)
            for name, form in shapes.items():
                wanted = form(table)
                assert found.spec(name).shape == wanted.shape
                assert found.spec(name).dtype == stored
                begin = data.draw(st.integers(0, wanted.size))
                end = data.draw(st.integers(begin, wanted.size))
                for dtype in (torch.float32, torch.float64):
                    out = torch.empty(end - begin, dtype=dtype)
                    found.reader(name)(begin, out)
                    tolerance = 1e-6 if dtype == torch.float32 else 1e-12
                    np.testing.assert_allclose(
                        out, wanted.reshape(-1)[begin:end], rtol=tolerance, atol=tolerance
                    )
                rounded = torch.tensor(wanted).to(TYPES[stored]).double().numpy()
                np.testing.assert_allclose(
                    found.array(name), rounded, rtol=1e-2 if stored == "BF16" else 1e-6, atol=1e-6
                )
                assert b"".join(map(bytes, found.chunks(name))) == source.view(name).tobytes()
        assert found.read("other").tolist() == [1, 1]


def test_own_rows_are_the_bytes_they_were():
    bits = np.arange(2**16, dtype=np.uint16).reshape(-1, 16)
    bits = bits[(bits & 0x7F80 != 0x7F80).all(axis=1)]
    table = torch.from_numpy(bits.copy()).view(torch.bfloat16)
    model = Checkpoint.from_tensors({"t": table})
    order = np.random.default_rng(0).permutation(len(table))
    given = np.empty((1, 0), np.int64)
    rows = Rows(order, np.empty(0, np.int64), given, np.ones(len(order), bool))
    found = Checkpoint(RearrangedSource([model], [architecture({"t": 0})], 0, rows))
    assert torch.equal(found.read("t").view(torch.int16), table[order].view(torch.int16))


def test_a_vocabulary_that_only_grew_is_read_straight_through(trained, model):
    tokenizer = trained("BPE", "ducks")
    small, large = model(tokenizer), model(trained("BPE", "ships"))
    vocabulary = plan_vocabulary([small, large], VocabularyRules("union"), base=0)
    rows = vocabulary.rows[0].own
    known = len(small.read(EMBEDDING))
    assert (rows[:known] == np.arange(known)).all()
    assert (rows[known:] == NONE).all()
    assert torch.equal(vocabulary.aligned(0).read(EMBEDDING)[:known], small.read(EMBEDDING))


@pytest.fixture
def pair(trained, model):
    """Two models of different vocabularies, matched."""
    models = [model(trained("BPE", "ducks")), model(trained("BPE", "ships", ("<s>", "<tool>")))]
    return models, plan_vocabulary(models, VocabularyRules(pad_to_multiple_of=32), base=0)


def test_aligned_models_merge_with_every_number_of_workers_and_size_of_blocks(pair):
    aligned = [pair[1].aligned(i) for i in (0, 1)]
    size = pair[1].size
    plan = plan_merge(aligned, "linear", parameters={"weight": [0.25, 0.75]})
    merged = [
        Engine(plan, Execution(workers, chunk)).in_memory(aligned[0].config)
        for workers, chunk in ((1, 1 << 18), (3, 4096))
    ]
    assert merged[0].digest == merged[1].digest
    expected = 0.25 * aligned[0].read(EMBEDDING).double() + 0.75 * aligned[1].read(EMBEDDING).double()
    torch.testing.assert_close(merged[0].read(EMBEDDING), expected.float())
    assert merged[0].config["vocab_size"] == size == len(merged[0].read(EMBEDDING))
    assert size % 32 == 0


def test_what_was_made_of_models_has_a_digest_of_its_own(pair, tmp_path):
    models, vocabulary = pair
    other = plan_vocabulary(models, VocabularyRules("base"), base=0)
    stamps = [v.aligned(1).tensors.stamps for v in (vocabulary, other)]
    assert stamps[0] != stamps[1] != models[1].tensors.stamps
    assert len({vocabulary.aligned(1).digest, other.aligned(1).digest, models[1].digest}) == 3
    save(vocabulary.aligned(1), tmp_path / "saved")
    assert open_checkpoint(tmp_path / "saved").digest == vocabulary.aligned(1).digest


def test_a_tied_head_stays_tied_and_gives_the_rows_of_heads(trained, model, tmp_path):
    ducks, ships = trained("BPE", "ducks"), trained("BPE", "ships")
    apart = model(ducks)
    whole = model(ships, config={"tie_word_embeddings": True})
    tensors = {name: whole.read(name).clone() for name in whole if name != HEAD}
    save_file(tensors, whole.home / "model.safetensors", metadata={"format": "pt"})
    tied = open_checkpoint(whole.home)
    vocabulary = plan_vocabulary([apart, tied], VocabularyRules(), base=0)
    heads = [vocabulary.aligned(i) for i in (0, 1)]
    assert HEAD not in heads[1]
    assert Architecture.of(heads[1]).tied == {HEAD: EMBEDDING}
    last = max(vocabulary.tokens, key=vocabulary.tokens.get)
    assert torch.equal(heads[0].read(HEAD)[-1], tied.read(EMBEDDING)[vocabulary.members[1].tokens[last]])
    plan = plan_merge(heads, "linear")
    merged = Engine(plan, Execution()).in_memory(plan.donor.config)
    assert merged.spec(HEAD).shape == (vocabulary.size, 4)


def test_an_adapter_on_a_base_is_read_through(trained, model, tmp_path):
    ducks, ships = model(trained("BPE", "ducks")), model(trained("BPE", "ships"))
    rank, rows = 2, len(ducks.read(EMBEDDING))
    generator = torch.Generator().manual_seed(0)
    factors = {
        "base_model.model.lm_head.lora_A.weight": torch.randn(rank, 4, generator=generator),
        "base_model.model.lm_head.lora_B.weight": torch.randn(rows, rank, generator=generator),
    }
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    save_file(factors, adapter / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "r": rank, "lora_alpha": rank, "target_modules": ["lm_head"]}
    (adapter / "adapter_config.json").write_text(json.dumps(settings))
    adapted = open_checkpoint(f"{ducks.home}+{adapter}")
    vocabulary = plan_vocabulary([ships, adapted], VocabularyRules(), base=0)
    a, b = (factors[key].double() for key in factors)
    table = ducks.read(HEAD).double() + b @ a
    found = torch.empty(vocabulary.size * 4, dtype=torch.float64)
    vocabulary.aligned(1).reader(HEAD)(0, found)
    for token, row in vocabulary.members[1].tokens.items():
        torch.testing.assert_close(found.view(-1, 4)[vocabulary.tokens[token]], table[row])


def test_models_of_different_width_are_refused(trained, model):
    wide = {EMBEDDING: np.ones((400, 6), np.float32), HEAD: np.ones((400, 6), np.float32)}
    models = [model(trained("BPE", "ducks")), model(trained("BPE", "ships"), 400, tensors=wide)]
    vocabulary = plan_vocabulary(models, VocabularyRules(), base=0)
    with pytest.raises(CheckpointError, match="rows of another length"):
        vocabulary.aligned(0)


def test_a_table_that_the_other_model_lacks_is_named(trained, model):
    tensors = {EMBEDDING: np.ones((400, 4), np.float32), "norm.weight": np.ones(4, np.float32)}
    lacking = model(trained("BPE", "ships"), 400, tensors=tensors, config={"tie_word_embeddings": False})
    vocabulary = plan_vocabulary([model(trained("BPE", "ducks")), lacking], VocabularyRules(), base=0)
    with pytest.raises(CheckpointError, match=r"no table like its 'lm_head.weight'"):
        vocabulary.aligned(0)


def test_nothing_but_tables_goes_through_the_arrangement(pair):
    models, vocabulary = pair
    name = "model.layers.0.mlp.up_proj.weight"
    aligned = vocabulary.aligned(1)
    assert torch.equal(aligned.read(name), models[1].read(name))
    assert aligned.read(name, rows=slice(1, 2)).shape == (1, 4)
    aligned.will_need(name, 0, 4)
    aligned.will_need(EMBEDDING, 0, 4)
