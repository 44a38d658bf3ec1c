"""What a merge method is: its parameters as a frozen value, a first pass where it needs one, and one formula.

A method is a class in a module of its own, with its equation in the module's docstring. Its instances hold the
parameters for one merge; they never change, and neither method of theirs touches anything but its arguments:

| part | what |
| --- | --- |
| `rule` | what is known without parameters: how many models, whether a base, which laws hold |
| fields | the parameters, with defaults, bounds and a line of help each |
| `scope` | what `prepare` must see: nothing, one tensor, or the whole model |
| `rule.statistics` | what must have been measured on each model with data: nothing, Gram matrices, Fisher information |
| `prepare(scan)` | a first pass (or several): statistics such as thresholds, angles, counts |
| `combine(part, stats)` | the formula, on a few thousand elements of all models |
| `mixture(…)` | the same as mere coefficients, where it is a weighted sum: computed in one pass |

The executor reads, converts, walks in chunks, in parallel, and writes; a method does arithmetic only.
"""

from __future__ import annotations

import dataclasses
import difflib
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeAlias, TypeVar, runtime_checkable

from jaxtyping import Float

from merganser.merging.methods._mixture import Mixture
from merganser.merging.methods._noise import Noise

if TYPE_CHECKING:
    from torch import Tensor

Law = Literal["idempotent", "symmetric", "endpoints", "fixed_base"]
"""Laws that a method can claim, and the test suite then holds it to:

`idempotent`: merging copies of a model gives the model; `symmetric`: the order of the models does not matter;
`endpoints`: at an end of its parameter the result is one of the models; `fixed_base`: copies of the base give the
base.
"""

Scope = Literal["none", "tensor", "model"]
Space = Literal["weights", "deltas"]
StatisticsKind = Literal["gram", "merged_gram", "fisher"]
"""What is measured of a model with data:

`gram`: for every linear layer the mean of $x x^T$ over its inputs; `merged_gram`: the same, where inputs come through
the layers before as they are merged; `fisher`: for every parameter the diagonal of the Fisher information.
"""
PerModel: TypeAlias = tuple[float, ...]
"""A parameter with one value for each model; given as one number for all, or as a sequence."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Rule:
    """What is known of a method before its parameters are.

    Args:
        summary: What it does, in a line.
        paper: Where it comes from: arXiv number or address.
        base: Whether it works from a base model.
        models: Least and most models beside the base; None for any number.
        space: Whether `combine` is given the models' weights, or their differences from the base (task vectors),
            and gives back the same.
        laws: What holds whatever the models are.
        statistics: What must have been measured on every model; None for nothing.
    """

    summary: str
    paper: str
    base: Literal["required", "optional", "refused"] = "required"
    models: tuple[int, int | None] = (1, None)
    space: Space = "deltas"
    laws: frozenset[Law] = frozenset()
    statistics: StatisticsKind | None = None


@dataclass(slots=True)
class Part:
    """The same elements of all models: what a method computes on at a time.

    Args:
        values: Weights or deltas, one model a row; the method may overwrite them.
        base: The same elements of the base; None if there is none.
        begin: First element, counted within the tensor, row-major.
        columns: Length of the tensor's rows. A part holds whole rows if the method asked for them.
        noise: Random numbers for these elements.
        tensor: Name of the tensor.
        shape: The tensor's shape.
        fisher: Fisher information of the elements, one model a row; None where the method uses none, or none was
            measured for the tensor.
    """

    values: Float[Tensor, "models elements"]
    base: Float[Tensor, " elements"] | None
    begin: int
    columns: int
    noise: Noise
    tensor: str
    shape: tuple[int, ...] = ()
    fisher: Float[Tensor, "models elements"] | None = None


@dataclass(frozen=True, slots=True)
class Grams:
    """What the inputs of a layer were like, measured on each model.

    Args:
        read: The mean of $x x^T$ over the inputs of a model, given by its place; read when it is asked for.
        inputs_first: Whether the first axis of the weight is that of the inputs; otherwise all but the first are.
    """

    read: Callable[[int], Float[Tensor, "inputs inputs"]]
    inputs_first: bool


@runtime_checkable
class Scan(Protocol):
    """A pass over everything in the method's scope; can be made as often as needed.

    Attributes:
        models: Number of models, without the base.
        has_base: Whether there is a base beside them.
        numel: Elements in the scope, of each model.
        shape: The tensor's shape; None where the scope is the whole model.
        grams: Of a single tensor; None where the method uses none, or none were measured for it.
    """

    models: int
    has_base: bool
    numel: int
    shape: tuple[int, ...] | None
    grams: Grams | None

    def __call__(self, measure: Callable[[Part], T], *, stride: int = 1) -> Iterator[T]:
        """What `measure` finds in each part, in the order of the elements.

        Args:
            measure: Must not keep hold of the part, nor of views of it.
            stride: With more than 1, only a sample: one run of 4,096 elements out of `stride`.
        """
        ...


class MergeMethod(ABC):
    """A merge method with its parameters; see the module's docstring."""

    rule: ClassVar[Rule]

    @property
    def scope(self) -> Scope:
        """What `prepare` must see."""
        return "none"

    @property
    def whole_rows(self) -> bool:
        """Whether parts must hold whole rows."""
        return False

    @property
    def neurons(self) -> bool:
        """Whether a row is all that goes into one output (kernels flattened), rather than the last dimension."""
        return False

    @property
    def outputs_first(self) -> bool:
        """Whether matrices must be (out, in): those that are known to be stored (in, out) are shown transposed."""
        return False

    @property
    def equivariant(self) -> bool:
        r"""Whether it commutes with orthonormal changes of basis, and keeps the base where no task vector moves it.

        Then, on matrices, merging $U M_t V^\top$ is merging the $M_t$, with the result between $U$ and $V^\top$.
        """
        return False

    def whole_tensors(self, models: int) -> int:
        """How many buffers of a tensor's size it takes, beside those of parts; for the estimate of memory."""
        return 0

    @property
    def measured(self) -> Hashable:
        """What `prepare` depends on: tensors whose methods agree in it share statistics of the whole model."""
        return self

    def treatment(self, tensor: str, numel: int) -> Hashable:
        """What decides, beside the sources, what becomes of a tensor: equal where the results are.

        Args:
            tensor: Its name.
            numel: Its elements.
        """
        return self

    def prepare(self, scan: Scan) -> Any:
        """Statistics that the formula needs; None if it needs none."""
        return None

    def mixture(self, tensor: str, begin: int, end: int, *, stats: Any, has_base: bool) -> Mixture | None:
        """The formula as coefficients, where it is nothing but a sum with given weights; None where it is not.

        What it describes must be what `combine` computes, bit for bit: the executor takes whichever is faster.

        Args:
            tensor: Name of the tensor.
            begin: First element of the stretch that is asked for, counted within the tensor, row-major.
            end: One past its last.
            stats: What `prepare` returned.
            has_base: Whether the first source is a base.
        """
        return None

    @abstractmethod
    def combine(self, part: Part, stats: Any) -> Float[Tensor, " elements"]:
        """The merged elements: weights or a delta, as `rule.space` says.

        Args:
            part: The models' elements.
            stats: What `prepare` returned.
        """


def parameter(
    help: str,
    default: Any = dataclasses.MISSING,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: Sequence[str] = (),
) -> Any:
    """A parameter of a method, as a dataclass field.

    Args:
        help: What it does, in a line.
        default: Its default; without one, it must be given.
        low: Least value.
        high: Greatest value.
        choices: The words it may be.
    """
    return field(
        default=default, metadata={"help": help, "low": low, "high": high, "choices": tuple(choices)}
    )


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter as tables and messages show it."""

    name: str
    help: str
    kind: Literal["number", "numbers", "count", "flag", "word"]
    default: Any
    low: float | None
    high: float | None
    choices: tuple[str, ...]

    @property
    def is_required(self) -> bool:
        """Whether it has no default."""
        return self.default is dataclasses.MISSING


def parameters_of(method: type[MergeMethod]) -> tuple[Parameter, ...]:
    """The parameters of a method, by the names users give: `lambda`, not `lambda_`."""
    return tuple(
        Parameter(f.name.rstrip("_"), kind=_kind(str(f.type)), default=f.default, **f.metadata)
        for f in dataclasses.fields(method)  # pyright: ignore[reportArgumentType]
    )


def fields_of(method: type[MergeMethod]) -> Iterator[tuple[str, Parameter]]:
    """Each parameter with the name of the field that holds it."""
    fields = dataclasses.fields(method)  # pyright: ignore[reportArgumentType]
    yield from zip((field.name for field in fields), parameters_of(method), strict=True)


def bind(name: str, method: type[MergeMethod], models: int, values: Mapping[str, Any]) -> MergeMethod:
    """A method with its parameters, checked.

    Args:
        name: What it is called, for messages.
        method: The method.
        models: Number of models beside the base.
        values: Parameters by name; a number where there may be one for each model stands for all.

    Raises:
        ValueError: If a parameter is unknown, missing, of the wrong kind or out of bounds, or the method does not
            take so many models.
    """
    least, most = method.rule.models
    if models < least or (most is not None and models > most):
        expected = (
            f"exactly {least}"
            if least == most
            else f"at least {least}"
            if models < least
            else f"at most {most}"
        )
        noun = "model" if expected.endswith(" 1") else "models"
        beside = "" if method.rule.base == "refused" else " beside the base"
        raise ValueError(f"`{name}` takes {expected} {noun}{beside}, but was given {models}.")
    known = {p.name: p for p in parameters_of(method)}
    for given in values:
        if given.rstrip("_") not in known:
            raise ValueError(unknown_parameter(name, given, known))
    given = {key.rstrip("_"): value for key, value in values.items()}
    bound: dict[str, Any] = {}
    for field_name, p in fields_of(method):
        if p.name not in given and p.is_required:
            raise ValueError(f"`{name}` needs `{p.name}`: {p.help}. Add it.")
        bound[field_name] = _checked(name, p, given.get(p.name, p.default), models)
    return method(**bound)


def unknown_parameter(method: str, given: str, known: Collection[str]) -> str:
    """A message for a parameter that a method does not have."""
    close = difflib.get_close_matches(given, known, n=1, cutoff=0.5)
    hint = f"Did you mean `{close[0]}`?" if close else f"It has {_listed(known)}."
    return f"`{method}` has no parameter `{given}`. {hint}"


def _kind(annotation: str) -> Any:
    return {"PerModel": "numbers", "float": "number", "int": "count", "bool": "flag"}.get(annotation, "word")


def _listed(known: Collection[str]) -> str:
    return ", ".join(f"`{key}`" for key in known) if known else "no parameters"


def _checked(method: str, p: Parameter, value: Any, models: int) -> Any:
    where = f"`{p.name}` of `{method}`"
    if p.kind == "flag":
        if not isinstance(value, bool):
            raise ValueError(f"{where} must be true or false, but is {value!r}.")
        return value
    if p.kind == "word":
        if value not in p.choices:
            close = difflib.get_close_matches(str(value), p.choices, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise ValueError(f"{where} must be one of {', '.join(p.choices)}, but is {value!r}.{hint}")
        return value
    if p.kind == "count":
        number = _number(where, p, value)
        if number != int(number):
            raise ValueError(f"{where} must be a whole number, but is {value!r}.")
        return int(number)
    if p.kind == "number":
        return _number(where, p, value)
    listed = value if isinstance(value, Sequence) and not isinstance(value, str) else [value] * models
    if len(listed) != models:
        raise ValueError(
            f"{where} needs one number, or one for each of {models} models, but has {len(listed)}."
        )
    return tuple(_number(where, p, each) for each in listed)


def _number(where: str, p: Parameter, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{where} must be a number, but is {value!r}.")  # noqa: TRY004
    low, high = p.low, p.high
    if not (value == value and abs(value) != float("inf")):
        raise ValueError(f"{where} must be a finite number, but is {value}.")
    if (low is not None and value < low) or (high is not None and value > high):
        bounds = (
            f"at least {low:g}"
            if high is None
            else f"at most {high:g}"
            if low is None
            else f"in [{low:g}, {high:g}]"
        )
        raise ValueError(f"{where} must be {bounds}, but is {value:g}.")
    return float(value)
