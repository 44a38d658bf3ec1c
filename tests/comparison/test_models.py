"""Real models: against themselves, against noisy ones, padding, order, tokenizers, the cache."""

import json
import shutil

import numpy as np
import pytest
import torch

from merganser.comparison import Imprint, SimilaritySums, View, compare_features, features
from merganser.models import load

MEAN = View(rows=10)


@pytest.fixture(scope="module")
def alive(stories):
    return load(stories)


def last_layer(sums, first, second, layer="model.layers.4"):
    return sums.similarity().between((first, layer), (second, layer)).value


def test_a_model_is_like_itself_and_less_like_noisier_ones(stories, noisy, texts):
    models = {"same": stories, "base": stories, "near": noisy[0], "far": noisy[1]}
    sums = compare_features(models, texts, MEAN)
    found = sums.similarity()
    assert (sums.batches, len(sums.sites)) == (4, 20)
    assert np.diag(found.block("base", "same")) == pytest.approx(1, abs=1e-6)
    near, far = (last_layer(sums, "base", name) for name in ("near", "far"))
    assert 1 > near > far
    assert near > found.block("base", "base")[0, 4]


def test_padding_and_neighbours_in_a_batch_change_nothing(alive, texts):
    for reduce in ("mean", "last", "all"):
        view = View(rows=512, reduce=reduce)
        mixed = np.concatenate([b["model.layers.2"] for b in features(alive, texts[:6] + texts[30:36], view)])
        apart = [
            rows["model.layers.2"]
            for text in texts[:6] + texts[30:36]
            for rows in features(alive, [text], view)
        ]
        np.testing.assert_allclose(mixed, np.concatenate(apart)[: len(mixed)], atol=1e-4)


def test_reductions_are_what_they_say(alive, texts):
    ids = torch.tensor([alive.tokens.prompt(texts[0])])
    with torch.no_grad(), alive.activations(["model.layers.3"]) as seen:
        alive.module(ids)
    [tokens] = seen["model.layers.3"][0].numpy()

    def rows(reduce):
        [found] = features(alive, [texts[0]], View(reduce=reduce, layers=("model.layers.3",)))
        return found["model.layers.3"]

    np.testing.assert_allclose(rows("mean"), [tokens.mean(axis=0)], atol=1e-5)
    np.testing.assert_allclose(rows("last"), [tokens[-1]], atol=1e-5)
    np.testing.assert_allclose(rows("all"), tokens, atol=1e-5)
    sampled = rows("sampled")
    assert len(sampled) == 4
    nearest = np.abs(tokens[:, None] - sampled[None]).max(axis=2)
    assert (nearest.min(axis=0) < 1e-5).all()


def test_long_texts_are_cut(alive):
    view = View(reduce="all", rows=12, most_tokens=5, layers=("model.norm",))
    [found] = features(alive, ["Once upon a time there was a little girl"] * 2, view)
    assert len(found["model.norm"]) == 2 * 5


def test_sampled_tokens_are_the_same_for_all_models(stories, noisy, texts):
    view = View(reduce="sampled", rows=40, sampled=3, neighbours=5)
    sums = compare_features({"base": stories, "same": stories, "near": noisy[0]}, texts, view)
    assert sums.rows == 120
    assert last_layer(sums, "base", "same") == pytest.approx(1, abs=1e-6)
    assert sums.similarity("mutual_knn").block("base", "same").diagonal() == pytest.approx(1)
    assert 0.2 < sums.similarity("mutual_knn").block("base", "near")[4, 4] < 1


def test_tokenizers_that_differ_can_be_compared_by_text_only(stories, noisy, texts, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(noisy[0], other)
    file = other / "tokenizer.json"
    told = json.loads(file.read_text(encoding="utf-8"))
    words = told["model"]["vocab"]
    words["▁Lily"], words["▁Timmy"] = words["▁Timmy"], words["▁Lily"]
    file.write_text(json.dumps(told), encoding="utf-8")
    models = {"base": stories, "other": other}
    assert 0 < last_layer(compare_features(models, texts, MEAN), "base", "other") < 1
    for reduce in ("sampled", "all"):
        with pytest.raises(ValueError, match="different tokens"):
            compare_features(models, texts, View(reduce=reduce, rows=16))


def test_shards_of_texts_add_up(alive, texts):
    whole = compare_features({"m": alive}, texts, MEAN)
    parts = compare_features({"m": alive}, texts[:20], MEAN) + compare_features(
        {"m": alive}, texts[20:], MEAN
    )
    np.testing.assert_allclose(whole.similarity().values, parts.similarity().values, atol=1e-5)


def test_an_imprint_stands_for_a_model_on_the_same_data_only(stories, noisy, alive, texts, tmp_path):
    Imprint.of(alive, texts, MEAN).save(tmp_path / "base.npz")
    imprint = Imprint.open(tmp_path / "base.npz")
    assert imprint.view == MEAN
    sums = compare_features({"base": imprint, "near": noisy[0]}, texts, MEAN)
    again = compare_features({"base": stories, "near": noisy[0]}, texts, MEAN)
    np.testing.assert_array_equal(sums.similarity().values, again.similarity().values)
    with pytest.raises(ValueError, match="another order"):
        compare_features({"base": imprint, "near": noisy[0]}, texts[::-1], MEAN)
    with pytest.raises(ValueError, match="is asked for"):
        compare_features({"base": imprint}, texts, View(rows=20))


def test_what_is_cached_is_not_computed_again(stories, texts, tmp_path):
    first = compare_features({"base": stories}, texts, MEAN, cache=tmp_path)
    [file] = tmp_path.iterdir()
    stamp = file.stat().st_mtime_ns
    again = compare_features({"other name": stories}, texts, MEAN, cache=tmp_path)
    assert file.stat().st_mtime_ns == stamp
    np.testing.assert_array_equal(first.similarity().values, again.similarity().values)
    file.write_bytes(b"damaged")
    compare_features({"base": stories}, texts, MEAN, cache=tmp_path)
    assert Imprint.open(file).view == MEAN
    compare_features({"base": stories}, texts[:20], MEAN, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_modules_are_compared_on_batches_and_left_as_they_were():
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(6, 9), torch.nn.Dropout(), torch.nn.Linear(9, 4))
    other = torch.nn.Sequential(torch.nn.Linear(6, 9), torch.nn.Dropout(), torch.nn.Linear(9, 4))
    batches = list(torch.randn(5, 12, 6))
    view = View(layers=("0", "2"), rows=12)
    sums = compare_features({"a": module, "b": other}, batches, view)
    assert module.training
    assert not module[0]._forward_hooks
    assert (sums.rows, sums.batches) == (60, 5)
    expected = SimilaritySums.of({("a", "0"): module[0](batches[0]), ("b", "0"): other[0](batches[0])})
    for batch in batches[1:]:
        expected += {("a", "0"): module[0](batch), ("b", "0"): other[0](batch)}
    assert last_layer(sums, "a", "b", "0") == pytest.approx(expected.similarity().values[0, 1], abs=1e-6)


def test_a_loader_that_shuffles_is_refused():
    data = torch.utils.data.DataLoader(torch.randn(32, 6), batch_size=8, shuffle=True)
    module = torch.nn.Linear(6, 4)
    with pytest.raises(TypeError, match="must be a list"):
        compare_features({"a": module, "b": module}, data, View(layers=("",), rows=8))


def test_rows_are_cut_anew_and_few_left_over_are_left_out():
    module = torch.nn.Sequential(torch.nn.Linear(6, 4))
    batches = list(torch.randn(7, 5, 6))
    found = [len(b["0"]) for b in features(module, batches, View(layers=("0",), rows=10))]
    assert found == [10, 10, 10]
    found = [len(b["0"]) for b in features(module, batches, View(layers=("0",), rows=13))]
    assert found == [13, 13, 9]


def test_misuse_is_told(alive, texts):
    module = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3))
    with pytest.raises(ValueError, match=r"View\(layers=…\)`, of 0"):
        next(features(module, [torch.zeros(8, 1, 5, 5)]))
    with pytest.raises(ValueError, match=r"shape \(8, 2, 3, 3\)"):
        next(features(module, [torch.zeros(8, 1, 5, 5)], View(layers=("0",))))
    with pytest.raises(ValueError, match="no data"):
        next(features(alive, []))
    with pytest.raises(ValueError, match="ran 0 times"):
        next(features(alive, texts, View(layers=("lm_head",))))
    with pytest.raises(ValueError, match="at least one model"):
        compare_features({}, texts)
    for options in ({"rows": 7}, {"reduce": "max"}, {"neighbours": 128}, {"sampled": 0}):
        with pytest.raises(ValueError, match=next(iter(options))):
            View(**options)
