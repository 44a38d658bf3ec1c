"""What the shop sells: categories, their types of products with a range of prices, attributes and options."""

from __future__ import annotations

from typing import NamedTuple


class Category(NamedTuple):
    """Products of one kind.

    Attributes:
        types: Lowest and highest price of each type, in dollars.
        attributes: What products of the category may be.
        options: What can be chosen, and from which values.
    """

    types: dict[str, tuple[int, int]]
    attributes: tuple[str, ...]
    options: dict[str, tuple[str, ...]]


_COLORS = ("black", "white", "red", "navy", "olive", "teal", "grey", "pink")

CATEGORIES = {
    "clothing": Category(
        {
            "running shoes": (35, 140),
            "hiking boots": (60, 190),
            "rain jacket": (30, 120),
            "cardigan": (20, 90),
            "yoga pants": (15, 60),
        },
        (
            *("waterproof", "breathable", "machine washable", "slim fit", "lightweight"),
            *("quick drying", "stretchy", "insulated", "wrinkle free", "reflective"),
        ),
        {"color": _COLORS, "size": ("x-small", "small", "medium", "large", "x-large", "xx-large")},
    ),
    "home": Category(
        {
            "floor lamp": (25, 150),
            "storage basket": (10, 45),
            "throw blanket": (15, 80),
            "wall mirror": (20, 160),
            "bar stool": (40, 180),
        },
        (
            *("easy to clean", "space saving", "hand made", "foldable", "eco friendly"),
            *("easy to assemble", "scratch resistant", "fade resistant", "super soft", "heavy duty"),
        ),
        {"color": _COLORS, "style": ("modern", "rustic", "nordic", "vintage", "industrial")},
    ),
    "food": Category(
        {
            "ground coffee": (8, 30),
            "green tea": (5, 25),
            "trail mix": (6, 28),
            "protein bar": (10, 40),
            "pasta sauce": (5, 22),
        },
        (
            *("gluten free", "sugar free", "non gmo", "vegan", "low sodium"),
            *("kosher", "fair trade", "dairy free", "keto friendly", "small batch"),
        ),
        {
            "flavor": ("original", "vanilla", "hazelnut", "smoky", "berry", "ginger", "mint"),
            "pack": ("single", "twin", "family", "pantry", "party"),
        },
    ),
    "electronics": Category(
        {
            "phone case": (8, 45),
            "power bank": (18, 90),
            "bluetooth speaker": (20, 160),
            "charging cable": (6, 30),
            "wireless mouse": (12, 75),
        },
        (
            *("fast charging", "shock proof", "noise cancelling", "long lasting", "plug and play"),
            *("high speed", "water resistant", "energy efficient", "anti slip", "compact"),
        ),
        {"color": _COLORS, "edition": ("basic", "travel", "pro", "kids", "office")},
    ),
    "beauty": Category(
        {
            "face cream": (9, 70),
            "shampoo": (6, 35),
            "body lotion": (7, 40),
            "lip balm": (3, 18),
            "hand soap": (4, 20),
        },
        (
            *("paraben free", "sulfate free", "cruelty free", "dermatologist tested", "hydrating"),
            *("plant based", "alcohol free", "hypoallergenic", "fast absorbing", "anti aging"),
        ),
        {
            "scent": ("unscented", "lavender", "citrus", "rose", "coconut", "sandalwood"),
            "volume": ("2 ounce", "4 ounce", "8 ounce", "12 ounce", "16 ounce"),
        },
    ),
}

BRANDS = (
    *("norvik", "alderbay", "quillon", "tamsin", "brightfern", "oskra", "pellworth", "junipo"),
    *("marlowe", "kestrel", "veyra", "hollin", "zephra", "dunmoor", "calyx", "fenwick"),
)
