"""What bfloat16 loses where sums stay in single precision: bounds of two to three times what was measured."""

import pytest
import torch

from merganser.thinking import CTM, CTMConfig, tick_losses

SMALL = CTMConfig.preset("parity-64", neurons=128, width=64, ticks=20, memory=10)
WIDE = CTMConfig.preset("parity-64", neurons=512, width=256, ticks=16)


def trained_on(model, signs, *, half):
    """Predictions, certainties, and the gradient of the mean loss over all ticks, as one vector."""
    targets = (signs.cumprod(1) < 0).long()
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        thought = model(signs)
        logits = thought.predictions.float()
        loss = tick_losses(logits.unflatten(1, (64, 2)), targets).mean()
    loss.backward()
    gradient = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    return logits.detach(), thought.certainties.detach(), gradient


@pytest.mark.parametrize("config", [SMALL, WIDE], ids=["small", "wide"])
def test_bfloat16_loses_a_hundredth_of_predictions_and_little_of_gradients(config):
    torch.manual_seed(0)
    model = CTM(config).train()
    signs = torch.randint(0, 2, (4, 64), generator=torch.Generator().manual_seed(1)) * 2.0 - 1
    whole, half = (trained_on(model, signs, half=half) for half in (False, True))
    assert (half[0] - whole[0]).abs().max() < 0.02 * whole[0].abs().max()
    assert (half[1] - whole[1]).abs().max() < 0.02 * whole[1].abs().max()
    assert (half[2] - whole[2]).norm() < 0.05 * whole[2].norm()
    assert (half[2] - whole[2]).norm() > 0  # autocast did something
