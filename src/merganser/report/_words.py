"""Figures as people read them."""

from __future__ import annotations

from collections.abc import Sequence

from merganser.evaluation import Interval

_NARROW_SPACE = "\u202f"

METHOD_NAMES = {
    "natural-niches": "natural niches (M2N2)",
    "ga": "a genetic algorithm",
    "map-elites": "MAP-Elites",
    "nsga2": "NSGA-II",
    "cma-es": "CMA-ES",
    "random": "random search",
    "brute-force": "brute force over one weight",
}


def percent(value: float | None) -> str:
    r"""A fraction in per cent; a dash for None.

    Examples:
        >>> percent(0.70556), percent(None)
        ('70.6\u202f%', '–')
    """
    return "–" if value is None else f"{100 * value:.1f}{_NARROW_SPACE}%"


def percent_interval(interval: Interval | None) -> str:
    r"""A mean with its ends.

    Examples:
        >>> percent_interval(Interval(0.7, 0.65, 0.75))
        '70.0\u202f% (65.0 to 75.0)'
    """
    if interval is None:
        return "–"
    return f"{percent(interval.value)} ({100 * interval.low:.1f} to {100 * interval.high:.1f})"


def points(value: float) -> str:
    """A difference of fractions in points of a hundred, with its sign.

    Examples:
        >>> points(0.2583), points(-0.001), points(0.0)
        ('+25.8', '−0.1', '0.0')
    """
    text = f"{100 * value:+.1f}".replace("-", "−")
    return text[1:] if text.endswith("0.0") and len(text) == 4 else text


def count(value: float) -> str:
    """A number with thousands set apart."""
    return f"{value:,.0f}"


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number of things.

    Examples:
        >>> counted(1, "sample"), counted(2000, "entry", "entries")
        ('1 sample', '2,000 entries')
    """
    return f"{count(number)} {noun if number == 1 else plural or noun + 's'}"


def duration(seconds: float) -> str:
    """A time in the unit that suits it.

    Examples:
        >>> duration(4.56), duration(93), duration(7260)
        ('4.6 s', '1 min 33 s', '2 h 1 min')
    """
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def listed(names: Sequence[str], most: int = 4) -> str:
    """Names in a row, the last ones only counted if there are too many.

    Examples:
        >>> listed(["a", "b", "c"]), listed(["a", "b", "c"], most=2)
        ('a, b and c', 'a, b and 1 more')
    """
    shown, rest = list(names[:most]), len(names) - most
    if rest > 0:
        return f"{', '.join(shown)} and {rest} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)


def shortened(text: str, most: int) -> str:
    """A text cut to so many characters, with a mark where it goes on.

    Examples:
        >>> shortened("a duck", 10), shortened("a duck", 1)
        ('a duck', 'a…')
    """
    return text if len(text) <= most else text[:most] + "…"
