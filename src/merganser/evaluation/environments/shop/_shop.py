"""The shop as an environment: a page for searching, pages of results, pages of products."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from merganser.evaluation.environments.shop._catalogue import Catalogue, Product
from merganser.evaluation.environments.shop._goals import Goal, judge

BACK, NEXT, PREVIOUS, BUY = "Back to Search", "Next >", "< Prev", "Buy Now"

_ACTION = re.compile(r"(search|click)\s*\[([^\]]*)\]", re.IGNORECASE)
_PAGE = 5
_NOTHING = "Nothing happens: this page does not take that action."


class Shop:
    """A visit to the shop.

    Actions are `search[words]`, on the page for searching only, and `click[text]` with one of the texts in brackets;
    the first of them in a text counts. Everything else changes nothing. Buying ends the visit; before it the reward
    is 0.

    Args:
        catalogue: What it sells.

    Attributes:
        goal: What is wanted.
        page: Which page is shown.
        product: The product on its page.
        chosen: The options that are chosen there.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._results: tuple[Product, ...] = ()
        self._first = 0
        self.goal: Goal
        self.page: Literal["search", "results", "product", "bought"] = "search"
        self.product: Product | None = None
        self.chosen: dict[str, str] = {}

    def reset(self, sample: Mapping[str, Any]) -> str:
        """Enter with a goal.

        Raises:
            TaskError: If the sample is not a goal of the shop.
        """
        self.goal = Goal.of(sample)
        self._search_page()
        return self._shown()

    def step(self, action: str) -> tuple[str, float, bool]:
        """Search or click."""
        match = _ACTION.search(action)
        what, text = (match[1].lower(), match[2].strip()) if match else ("", "")
        if what == "search" and self.page == "search" and text:
            self._results, self._first, self.page = self._catalogue.search(text), 0, "results"
            return self._shown(), 0.0, False
        clicked = next((c for c in self.clickable if c.lower() == text.lower()), None)
        if what != "click" or clicked is None:
            return f"{_NOTHING}\n{self._shown()}", 0.0, False
        if clicked == BUY:
            return self._bought()
        self._click(clicked)
        return self._shown(), 0.0, False

    @property
    def clickable(self) -> tuple[str, ...]:
        """Everything that can be clicked on the page."""
        if self.page == "results":
            after = [NEXT] if self._first + _PAGE < len(self._results) else []
            before = [PREVIOUS] if self._first else []
            return (*(product.id for product in self.listed), BACK, *before, *after)
        if self.page == "product" and self.product is not None:
            values = (value for each in self.product.options.values() for value in each)
            return (*values, BACK, PREVIOUS, BUY)
        return ()

    @property
    def listed(self) -> tuple[Product, ...]:
        """The products on the page of results."""
        return self._results[self._first : self._first + _PAGE]

    def _click(self, clicked: str) -> None:
        if clicked == BACK:
            self._search_page()
        elif clicked in (NEXT, PREVIOUS) and self.page == "results":
            self._first += _PAGE if clicked == NEXT else -_PAGE
        elif clicked == PREVIOUS:
            self.page, self.product = "results", None
        elif self.product is None:
            self.product = next(product for product in self.listed if product.id == clicked)
            self.page, self.chosen = "product", {}
        else:
            name = next(name for name, values in self.product.options.items() if clicked in values)
            self.chosen[name] = clicked

    def _search_page(self) -> None:
        self.page, self._results, self._first = "search", (), 0
        self.product, self.chosen = None, {}

    def _bought(self) -> tuple[str, float, bool]:
        assert self.product is not None
        found = judge(self.goal, self.product, self.chosen)
        self.page = "bought"
        kind = {1.0: "the right type", 0.5: "another type of the category"}.get(
            found.type, "another category"
        )
        text = (
            f"Bought {self.product.title}, {_dollars(self.product)}: {kind}, "
            f"{found.attributes} of {len(self.goal.attributes)} attributes, {found.options} of "
            f"{len(self.goal.options)} options, price {'within' if found.in_budget else 'above'} the limit."
        )
        return text, found.reward, True

    def _shown(self) -> str:
        buttons = " ".join(f"[{text}]" for text in self.clickable if text in (BACK, NEXT, PREVIOUS, BUY))
        if self.page == "search":
            lines = ["Search page: search[words]"]
        elif self.product is None:
            pages = -(-len(self._results) // _PAGE)
            listed = [f"[{p.id}] {p.title}, {_dollars(p)}" for p in self.listed]
            lines = [f"Results, page {self._first // _PAGE + 1} of {pages}", *listed, buttons]
            if not self._results:
                lines = ["Nothing found", buttons]
        else:
            options = [self._option(name, values) for name, values in self.product.options.items()]
            features = f"Features: {', '.join(self.product.attributes)}"
            lines = [f"{self.product.title}, {_dollars(self.product)}", features, *options, buttons]
        return "\n".join([f"Instruction: {self.goal.text}", *lines])

    def _option(self, name: str, values: tuple[str, ...]) -> str:
        chosen = f" (chosen: {self.chosen[name]})" if name in self.chosen else ""
        return f"{name}: {' '.join(f'[{value}]' for value in values)}{chosen}"


def _dollars(product: Product) -> str:
    return f"${product.price / 100:.2f}"
