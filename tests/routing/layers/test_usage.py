"""Usage and entropy are those of the gates, padding aside."""

import numpy as np
import pytest
import torch

from merganser.routing.layers import LabelledRows, LayerRouting, RoutedModel, TokenWindows, assemble, usage_of

from .conftest import vit


def test_equal_shares_have_the_largest_entropy():
    net = assemble(vit(0), {"a": vit(0), "b": vit(1)}, LayerRouting("cross-depth", reach=2))
    found = usage_of(net, LabelledRows(np.zeros((5, 28, 28), np.float32), np.zeros(5, int)), batch=2)
    assert found.shares.shape == (4, 2, 2)
    np.testing.assert_allclose(found.shares, 0.25, rtol=1e-6)
    np.testing.assert_allclose(found.entropy, np.log(4), rtol=1e-6)
    assert found.tokens == 5 * 4
    assert found.depths == ((0, 1), (1, 2), (2, 3), (3, 2))


def test_of_one_chosen_expert_there_is_no_entropy():
    net = assemble(vit(0), {"a": vit(0), "b": vit(1), "c": vit(2)}, LayerRouting("layers", top_k=1))
    generator = torch.Generator().manual_seed(0)
    net.set_weights({n: torch.randn(w.shape, generator=generator) for n, w in net.routers.items()})
    images = torch.randn(6, 28, 28, generator=generator).numpy()
    found = usage_of(net, LabelledRows(images, np.zeros(6, int)))
    np.testing.assert_allclose(found.entropy, 0, atol=1e-6)
    assert set(np.rint(found.by_expert * 24).astype(int).sum(axis=1)) == {24}
    np.testing.assert_allclose(found.by_distance, 1)


@pytest.mark.parametrize("level", ["static", "single", "layers"])
def test_padding_does_not_count(two_stories, level):
    model = RoutedModel.of(dict(zip("ab", two_stories, strict=True)), LayerRouting(level))
    weights = {n: torch.linspace(0, 1, w.numel()).view(w.shape) for n, w in model.net.routers.items()}
    model.net.set_weights(weights)
    texts = ["Once upon a time there was a little dog who loved to run.", "The end."]
    data = TokenWindows(texts, model.tokens)
    together, alone = usage_of(model.net, data, batch=2), usage_of(model.net, data, batch=1)
    assert together.tokens == alone.tokens == sum(map(len, data.windows))
    np.testing.assert_allclose(together.shares, alone.shares, atol=1e-6)
    np.testing.assert_allclose(together.entropy, alone.entropy, atol=1e-6)
    np.testing.assert_allclose(together.shares.sum(axis=(1, 2)), 1, rtol=1e-6)
