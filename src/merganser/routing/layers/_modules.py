r"""The parts of a routed module: experts side by side, and what decides how much each of them counts.

| here | formula |
| --- | --- |
| `StaticShares` | $p_e$, numbers |
| `Router` | $p = \mathrm{softmax}(W h + b)$, $b$ constant, in float32 |
| `Recalled` | the shares of another router, of its last call |
| `Gate` | the $k$ largest shares, divided by their sum; all of them without `top_k` |
| `RoutedMlp` | $\sum_e p_e(h)\, E_e(h)$ |
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class StaticShares(nn.Module):
    """Shares that do not depend on the input; those of all models but the last are free.

    Args:
        models: Number of models.
        depths: Depths of each that are mixed.
        device: Where they live.
    """

    def __init__(self, models: int, device: torch.device) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((models - 1,), 1 / models, device=device))

    def forward(self, inputs: Float[Tensor, "*tokens width"]) -> Float[Tensor, "*tokens models"]:
        """The same shares for every token."""
        shares = torch.cat([self.weight, 1 - self.weight.sum(dim=0, keepdim=True)])
        return shares.expand(*inputs.shape[:-1], -1)


class Router(nn.Module):
    """A softmax over a linear map without bias; begins with equal shares.

    Args:
        experts: Number of experts.
        width: Of the inputs.
        own: How many of them, the first, are of the block's own depth.
        own_bias: Added to their logits.
        device: Where it lives.
    """

    bias: Tensor
    last: Tensor | None

    def __init__(self, experts: int, width: int, *, own: int, own_bias: float, device: torch.device) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(experts, width, device=device))
        bias = torch.zeros(experts, device=device)
        bias[:own] = own_bias
        self.register_buffer("bias", bias, persistent=False)
        self.last = None
        self.is_remembered = False

    def forward(self, inputs: Float[Tensor, "*tokens width"]) -> Float[Tensor, "*tokens experts"]:
        """Shares of the experts, in float32."""
        shares = functional.linear(inputs.float(), self.weight, self.bias).softmax(dim=-1)
        if self.is_remembered:
            self.last = shares
        return shares


class Recalled(nn.Module):
    """What another router said when it was called last.

    Args:
        router: The router, which is not a part of this.
    """

    def __init__(self, router: Router) -> None:
        super().__init__()
        router.is_remembered = True
        self._router = (router,)

    def forward(self, inputs: Float[Tensor, "*tokens width"]) -> Float[Tensor, "*tokens experts"]:  # noqa: ARG002
        """Its shares."""
        [router] = self._router
        assert router.last is not None
        return router.last


class Gate(nn.Module):
    """The shares with which experts count.

    Args:
        router: Gives a share for every expert.
        top_k: How many of them count; None for all.
    """

    def __init__(self, router: nn.Module, top_k: int | None) -> None:
        super().__init__()
        self.router, self.top_k = router, top_k

    def forward(self, inputs: Float[Tensor, "*tokens width"]) -> Float[Tensor, "*tokens experts"]:
        """Shares that add up to 1; zero for experts that were not chosen."""
        shares = self.router(inputs)
        if self.top_k is None or self.top_k >= shares.shape[-1]:
            return shares
        chosen, which = shares.topk(self.top_k, dim=-1)
        return torch.zeros_like(shares).scatter(-1, which, chosen / chosen.sum(dim=-1, keepdim=True))


class RoutedMlp(nn.Module):
    """Several MLPs in the place of one.

    Args:
        experts: The MLPs.
        router: Gives a share for each.
        top_k: As in [`Gate`][].
    """

    def __init__(self, experts: Sequence[nn.Module], router: nn.Module, top_k: int | None) -> None:
        super().__init__()
        self.experts, self.gate = nn.ModuleList(experts), Gate(router, top_k)

    def forward(self, inputs: Float[Tensor, "*tokens width"]) -> Float[Tensor, "*tokens width"]:
        """What the experts put out, mixed."""
        shares = self.gate(inputs).to(inputs.dtype)
        top_k = self.gate.top_k
        if top_k is None or top_k >= len(self.experts):
            return self._all(inputs, shares)
        width = inputs.shape[-1]
        rows = self._chosen(inputs.reshape(-1, width), shares.reshape(-1, len(self.experts)))
        return rows.view(inputs.shape)

    def _all(
        self, inputs: Float[Tensor, "*tokens width"], shares: Float[Tensor, "*tokens experts"]
    ) -> Float[Tensor, "*tokens width"]:
        first, *others = self.experts
        mixed = first(inputs) * shares[..., :1]
        for e, expert in enumerate(others, start=1):
            mixed = torch.addcmul(mixed, expert(inputs), shares[..., e : e + 1])
        return mixed

    def _chosen(
        self, inputs: Float[Tensor, "tokens width"], shares: Float[Tensor, "tokens experts"]
    ) -> Float[Tensor, "tokens width"]:
        """Each expert on the tokens that chose it, together."""
        mixed = torch.zeros_like(inputs)
        for e, expert in enumerate(self.experts):
            rows = shares[:, e].nonzero().squeeze(1)
            if len(rows):
                mixed = mixed.index_add(0, rows, expert(inputs[rows]) * shares[rows, e, None])
        return mixed
