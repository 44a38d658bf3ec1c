"""The engine: what is copied, what is refused when it is read, how far it says it is, where bytes go."""

import re
import threading

import pytest
import torch

from merganser._errors import CheckpointError
from merganser.merging import METHODS, Engine, Statistics, merge, plan_merge
from merganser.merging._execute import MemorySink
from merganser.merging._write import merged_config
from merganser.weights import Checkpoint, Execution, fingerprint

PARAMETERS = {"nearswap": {"t": 0.1}}


def named(tensors, source="memory", **more):
    return Checkpoint(Checkpoint.from_tensors(tensors).tensors, source, **more)


def run(plan, execution=Execution(), progress=None, sink=None):
    sink = sink or MemorySink(plan.targets)
    Engine(plan, execution, progress).run(plan.targets, sink)
    return sink


def models_for(method, shapes, count=2):
    """As many models as the method takes, and a base if it needs one."""
    rule = METHODS[method].rule
    count = max(rule.models[0], min(count, rule.models[1] or count))
    generator = torch.Generator().manual_seed(0)
    drawn = [
        {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
        for _ in range(count + 1)
    ]
    base = drawn.pop() if rule.base == "required" else None
    models = [named(tensors, f"model {i}") for i, tensors in enumerate(drawn[:count], start=1)]
    return models, None if base is None else named(base, "the base")


def statistics_for(method, models):
    """What the method needs to know of every model, as if it had been measured; nothing for most."""
    kind = METHODS[method].rule.statistics
    if kind is None:
        return []
    looks = [fingerprint(model) for model in models]
    prefix = {"models": looks, "parameters": {"alpha": 0.9, "ridge": 1e-6}} if kind == "merged_gram" else None
    shapes = {name: models[0].spec(name).shape for name in models[0]}
    numbers = {name: torch.ones(shape) for name, shape in shapes.items()}
    if kind != "fisher":
        numbers = {name: torch.eye(shape[1]) for name, shape in shapes.items() if len(shape) == 2}
    return [Statistics(kind, look, named(numbers, "statistics"), 1, 1, prefix=prefix) for look in looks]


# what is not merged


@pytest.mark.parametrize(
    "dtype", [torch.int64, torch.int32, torch.uint8, torch.bool, torch.complex64], ids=str
)
def test_what_is_not_floating_is_copied_if_all_models_agree(dtype):
    buffer = (torch.arange(10).reshape(2, 5) % 2).to(dtype)
    models = [named({"w": torch.full((3,), float(i)), "steps": buffer}) for i in range(3)]
    merged = run(plan_merge(models)).tensors
    assert torch.equal(merged["steps"], buffer)
    assert merged["w"].tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_what_is_not_floating_and_differs_names_the_tensor_and_both_models(place):
    tensors = [{"steps": torch.arange(2_000_000), "w": torch.ones(1)} for _ in range(3)]
    tensors[place]["steps"] = tensors[place]["steps"].clone()
    tensors[place]["steps"][-1] += 1
    models = [named(each, source) for each, source in zip(tensors, "abc", strict=True)]
    other = "abc"[max(place, 1)]
    words = rf"Tensor 'steps' holds I64, which cannot be merged, and differs between a and {other}\."
    with pytest.raises(CheckpointError, match=words):
        run(plan_merge(models))


def test_buffers_of_different_types_differ_even_if_the_first_bytes_agree():
    models = [
        named({"n": torch.tensor([1, 0], dtype=torch.int32)}, "a"),
        named({"n": torch.tensor([1, 5])}, "b"),
    ]
    for pair in (models, models[::-1]):
        with pytest.raises(CheckpointError, match=r"Tensor 'n' .*cannot be merged.* (a|b) and (a|b)"):
            run(plan_merge(pair))


def test_empty_buffers_and_empty_tensors_are_there():
    tensors = {"n": torch.zeros(0, 3, dtype=torch.int64), "w": torch.zeros(2, 0)}
    merged = run(plan_merge([named(tensors), named(tensors)])).tensors
    assert {name: (t.shape, t.dtype) for name, t in merged.items()} == {
        "n": ((0, 3), torch.int64),
        "w": ((2, 0), torch.float32),
    }


# what is refused when it is read


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("method", sorted(METHODS))
def test_the_fault_that_is_named_is_the_first_of_the_tensor_whatever_the_workers(method, workers):
    models, base = models_for(method, {"a": (20_000,), "b": (70_001,), "c": (50, 7)})
    models[-1].read("b")[[65_000, 66_000]] = float("nan")
    measured = statistics_for(method, models)
    plan = plan_merge(models, method, base=base, parameters=PARAMETERS.get(method), statistics=measured)
    words = f"Tensor 'b' of model {len(models)} holds a number that is NaN, at element 65,000. The model is damaged"
    with pytest.raises(CheckpointError, match=re.escape(words)):
        run(plan, Execution(workers, 8192))


def test_a_fault_in_any_tensor_is_found_with_many_workers():
    models = [named({f"t{i:02}": torch.ones(5000) for i in range(40)}, source) for source in "ab"]
    models[1].read("t37")[4321] = -float("inf")
    with pytest.raises(
        CheckpointError, match=r"'t37' of b holds a number that is infinite, at element 4,321"
    ):
        run(plan_merge(models), Execution(3))
    assert threading.active_count() < 10


def test_a_result_that_is_none_says_so_and_blames_no_model():
    models = [named({"w": torch.full((9,), 3e38)}), named({"w": torch.full((9,), 2e38)})]
    with pytest.raises(ValueError, match="Tensor 'w': the merged numbers do not fit float32") as caught:
        run(plan_merge(models, parameters={"normalize": False}))
    assert not isinstance(caught.value, CheckpointError)


# names that stand for others


class Language(torch.nn.Module):
    """An embedding and a head, which may be one."""

    def __init__(self, seed, tied):
        super().__init__()
        torch.manual_seed(seed)
        self.embed_tokens = torch.nn.Embedding(6, 4)
        self.lm_head = torch.nn.Linear(4, 6, bias=False)
        if tied:
            self.lm_head.weight = self.embed_tokens.weight


def tied_and_apart():
    modules = [Language(0, tied=True), Language(1, tied=False)]
    configs = [{"tie_word_embeddings": tied, "vocab_size": 6} for tied in (True, False)]
    opened = [Checkpoint.from_module(m, config=c) for m, c in zip(modules, configs, strict=True)]
    assert opened[0].tied == {"lm_head.weight": "embed_tokens.weight"}
    return modules, opened


def test_a_head_that_only_one_model_ties_is_merged_apart_and_said_to_be():
    (tied, apart), opened = tied_and_apart()
    plan = plan_merge(opened)
    merged = run(plan).tensors
    embedding, other = tied.embed_tokens.weight.detach(), apart.embed_tokens.weight.detach()
    torch.testing.assert_close(merged["embed_tokens.weight"], (embedding + other) / 2)
    torch.testing.assert_close(merged["lm_head.weight"], (embedding + apart.lm_head.weight.detach()) / 2)
    assert merged_config(plan) == {"tie_word_embeddings": False, "vocab_size": 6}
    result = merge(opened)
    assert dict(result.tied) == {}
    assert result.config["tie_word_embeddings"] is False


def test_a_head_that_all_models_tie_stays_tied():
    modules = [Language(seed, tied=True) for seed in (0, 1)]
    result = merge(modules)
    assert list(result) == ["embed_tokens.weight"]
    assert dict(result.tied) == {"lm_head.weight": "embed_tokens.weight"}
    config = {"tie_word_embeddings": True}
    opened = [Checkpoint.from_module(module, config=config) for module in modules]
    assert merged_config(plan_merge(opened)) == config


def test_a_donor_that_holds_its_head_apart_keeps_it_apart():
    _, (tied, apart) = tied_and_apart()
    result = merge([tied, apart], donor=apart)
    assert set(result) == {"embed_tokens.weight", "lm_head.weight"}
    assert result.config["tie_word_embeddings"] is False


# progress


SHAPES = {
    "model.embed.weight": (301, 7),
    "model.layers.0.w": (5000,),
    "model.layers.1.w": (70, 130),
    "n": (1,),
}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("method", sorted(METHODS))
def test_progress_grows_to_its_total_and_no_further(method, workers, monkeypatch):
    from merganser.merging import _execute

    monkeypatch.setattr(_execute, "_UNIT", 4096)
    models, base = models_for(method, SHAPES)
    measured = statistics_for(method, models)
    plan = plan_merge(models, method, base=base, parameters=PARAMETERS.get(method), statistics=measured)
    seen = []
    run(plan, Execution(workers, 4096), seen.append)
    done = [progress.done for progress in seen]
    assert {progress.total for progress in seen} == {plan.bytes_in + plan.bytes_out}
    assert done == sorted(done)
    assert done[-1] == seen[-1].total
    assert done[-2] < done[-1], "it is not at its end before the end"
    words = [progress.doing for progress in seen]
    assert set(words) == ({"measuring", "merging"} if plan.methods[0].scope == "model" else {"merging"})
    assert words == sorted(words)  # measuring comes first


def test_what_is_measured_twice_is_counted_once(monkeypatch):
    """A sample that misleads costs a second pass over the model, which nobody could have foreseen."""
    from merganser.merging.methods import _select

    monkeypatch.setattr(_select, "_bracket", lambda ascending, fraction: (1e9, 2e9))
    models, base = models_for("ties", SHAPES)
    plan, seen = plan_merge(models, "ties", base=base), []
    run(plan, progress=seen.append)
    done = [progress.done for progress in seen]
    assert done == sorted(done)
    measured = max(progress.done for progress in seen if progress.doing == "measuring")
    assert measured == (seen[-1].total - plan.bytes_out) // 2
    assert done[-1] == seen[-1].total


def test_what_needs_no_measuring_reaches_the_total_too():
    models, base = models_for("ties", SHAPES)
    plan, seen = plan_merge(models, "ties", base=base, parameters={"density": 1.0}), []
    run(plan, progress=seen.append)
    assert seen[-1].done == seen[-1].total


def test_what_an_earlier_attempt_wrote_counts_as_done():
    for method in ("linear", "ties", "slerp"):
        models, base = models_for(method, SHAPES)
        plan, seen = plan_merge(models, method, base=base), []
        engine = Engine(plan, Execution(), seen.append)
        engine.skip(plan.targets[:2])
        engine.run(plan.targets[2:], MemorySink(plan.targets))
        assert seen[-1].done == seen[-1].total


# sinks


class Pieces:
    """A sink that remembers what it was given, and by whom."""

    def __init__(self):
        self.given, self.lock = [], threading.Lock()

    def write_at(self, name, offset, chunk):
        with self.lock:
            self.given.append((name, offset, bytes(chunk)))


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("method", ["linear", "ties", "slerp", "della", "arcee_fusion"])
def test_every_byte_of_the_result_is_handed_over_exactly_once(method, workers):
    models, base = models_for(method, SHAPES)
    plan = plan_merge(models, method, base=base)
    pieces = run(plan, Execution(workers, 4096), sink=Pieces()).given
    for target in plan.targets:
        here = sorted((offset, data) for name, offset, data in pieces if name == target.spec.name)
        end = 0
        for offset, data in here:
            assert offset == end
            end += len(data)
        assert end == target.spec.nbytes
    whole = run(plan, sink=MemorySink(plan.targets)).tensors
    name = plan.targets[0].spec.name
    data = b"".join(data for _, data in sorted(p[1:] for p in pieces if p[0] == name))
    assert data == whole[name].numpy().tobytes()


def test_an_engine_may_be_given_its_targets_in_several_turns():
    models, base = models_for("ties", SHAPES)
    plan = plan_merge(models, "ties", base=base)
    at_once, sink = run(plan).tensors, MemorySink(plan.targets)
    engine = Engine(plan, Execution(2))
    for target in plan.targets:
        engine.run([target], sink)
    assert all(torch.equal(sink.tensors[name], at_once[name]) for name in at_once)


def test_a_sink_that_fails_stops_the_merge():
    class Full:
        def write_at(self, name, offset, chunk):
            raise OSError("no space left")

    models, _ = models_for("linear", SHAPES)
    for workers in (1, 2):
        with pytest.raises(OSError, match="no space left"):
            run(plan_merge(models), Execution(workers), sink=Full())


@pytest.mark.parametrize(("workers", "chunk"), [(0, 1), (1, 0), (-1, 5)])
def test_an_execution_without_workers_or_elements_is_refused(workers, chunk):
    with pytest.raises(ValueError, match="at least one worker and one element a chunk"):
        Execution(workers, chunk)


def test_torch_has_as_many_threads_after_a_merge_as_before():
    before = torch.get_num_threads()
    models, _ = models_for("linear", SHAPES)
    run(plan_merge(models), Execution(2))
    assert torch.get_num_threads() == before
