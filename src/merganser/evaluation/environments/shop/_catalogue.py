"""The shop's products, generated from a seed, and the search among them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

from merganser.evaluation.environments.shop._kinds import BRANDS, CATEGORIES
from merganser.evaluation.environments.shop._lots import lot, one, some
from merganser.evaluation.environments.shop._search import Index

MOST_RESULTS = 50

_TYPES = tuple((category, kind) for category, found in CATEGORIES.items() for kind in found.types)


@dataclass(frozen=True)
class Product:
    """Something to buy.

    Attributes:
        id: What it is clicked by.
        category: One of five.
        type: What it is.
        brand: Who makes it.
        attributes: What it is like; four.
        options: What can be chosen, and from which values.
        price: In cents.
    """

    id: str
    category: str
    type: str
    brand: str
    attributes: tuple[str, ...]
    options: Mapping[str, tuple[str, ...]]
    price: int

    @property
    def title(self) -> str:
        """Brand, two of the attributes, type."""
        return " ".join([self.brand, *self.attributes[:2], self.type])

    @property
    def words(self) -> str:
        """Everything that search finds it by."""
        values = [value for each in self.options.values() for value in each]
        return " ".join([self.brand, *self.attributes, self.type, self.category, *values])


@dataclass(frozen=True)
class Catalogue:
    """All products, in order.

    Attributes:
        products: The products.
    """

    products: tuple[Product, ...]

    def search(self, words: str) -> tuple[Product, ...]:
        """At most 50 products that have some of the words, the best first."""
        return tuple(self.products[i] for i in self._index.find(words, MOST_RESULTS))

    @cached_property
    def _index(self) -> Index:
        return Index([product.words for product in self.products])


@lru_cache(maxsize=8)
def catalogue(seed: int = 0, products: int = 1000) -> Catalogue:
    """Products drawn from a seed, of all types in turn.

    Args:
        seed: Another seed draws others.
        products: How many.

    Raises:
        ValueError: If there are fewer than two of each type.

    Examples:
        >>> catalogue().products[0].title
        'veyra quick drying wrinkle free running shoes'
    """
    if products < 2 * len(_TYPES):
        raise ValueError(f"A shop has at least {2 * len(_TYPES)} products, but `products` is {products}.")
    return Catalogue(tuple(_product(seed, number) for number in range(products)))


def _product(seed: int, number: int) -> Product:
    key = ("product", seed, number)
    # types change every second number, so that even and odd numbers both have all of them
    category, kind = _TYPES[number // 2 % len(_TYPES)]
    found = CATEGORIES[category]
    low, high = found.types[kind]
    options = {
        name: tuple(sorted(some(values, 3 + lot(2, *key, name), *key, name), key=values.index))
        for name, values in found.options.items()
    }
    return Product(
        id=f"p{number:04}",
        category=category,
        type=kind,
        brand=one(BRANDS, *key, "brand"),
        attributes=some(found.attributes, 4, *key, "attributes"),
        options=options,
        price=100 * low + lot(100 * (high - low), *key, "price"),
    )
