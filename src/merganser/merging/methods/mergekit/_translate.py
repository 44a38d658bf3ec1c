"""From mergekit's methods and parameters to ours, and back: the same in meaning, each by its own formulas.

| mergekit's | ours |
| --- | --- |
| `slerp` with a base and a model | `slerp` of two models, the base first |
| `nuslerp_flatten`, `nuslerp_row_wise`; `filter_wise` | `along` |
| `ramplus_tl` | `ramplus`, `scope` tensor |
| `rescale` of dare and della | `rescale`: exact, or none |
| `int8_mask`; `density` and `rescale` of task_arithmetic | nothing: they have no effect |

All others keep their names. What is not given has mergekit's default: with a density of 1 nothing is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from merganser.merging.methods import METHODS, Parameter, parameters_of
from merganser.merging.methods.mergekit._table import SIGNATURES

Values: TypeAlias = "dict[str, Any]"
"""Parameters by name; where there is one for each model, a sequence, or a number for all."""

_NO_WEIGHT = 1e-8


class Exported(NamedTuple):
    """A method of ours as mergekit has it.

    Args:
        method: mergekit's name.
        shared: Parameters of a tensor.
        per_model: Parameters of the models beside the base, each a sequence or a number for all.
    """

    method: str
    shared: Mapping[str, Any]
    per_model: Mapping[str, Any]


def translate(method: str, parameters: Mapping[str, Any]) -> tuple[str, Values]:
    """Our method and its parameters, for one of mergekit's.

    Args:
        method: mergekit's name, one of `SIGNATURES`.
        parameters: Its parameters for one tensor: one value for shared ones, one for each model beside the base (or
            one for all) for others; None where not given.

    Raises:
        ValueError: If a parameter is missing, or asks for what only mergekit's own formulas have.

    Examples:
        >>> translate("ties", {"weight": [0.5, 0.5], "density": [0.2, None], "int8_mask": True})
        ('ties', {'weight': [0.5, 0.5], 'normalize': True, 'lambda': 1.0, 'density': [0.2, 1.0]})
    """
    name, translated = _TO_OURS[method]
    return name, translated(with_defaults(method, parameters))


def our_name(method: str) -> str:
    """What a method of mergekit's is called here."""
    return _TO_OURS[method][0]


def with_defaults(method: str, parameters: Mapping[str, Any]) -> Values:
    """All parameters of one of mergekit's methods: what is not given, or given as None, has mergekit's default.

    Args:
        method: mergekit's name, one of `SIGNATURES`.
        parameters: As `translate` takes them.

    Raises:
        ValueError: If a parameter without a default is missing.
    """
    signature = SIGNATURES[method]
    known = {**signature.shared, **signature.per_model}
    return {name: _filled(method, p, parameters.get(name)) for name, p in known.items()}


def to_mergekit(method: str, parameters: Mapping[str, Any]) -> Exported:
    """Method and parameters of mergekit, for ours.

    Args:
        method: Our name, one of `METHODS`. The first model of a slerp is mergekit's base.
        parameters: Its parameters; what is not given has our default.

    Raises:
        ValueError: If mergekit has no such thing.

    Examples:
        >>> to_mergekit("model_stock", {"along": "rows"})
        Exported(method='model_stock', shared={'filter_wise': True}, per_model={})
    """
    if method not in _TO_MERGEKIT:
        raise ValueError(f"mergekit has no method like `{method}`.")
    filled = {p.name: _filled(method, p, parameters.get(p.name)) for p in parameters_of(METHODS[method])}
    name, exported = _TO_MERGEKIT[method]
    values = exported(filled)
    per_model = SIGNATURES[name].per_model
    return Exported(
        name,
        {key: value for key, value in values.items() if key not in per_model},
        {key: value for key, value in values.items() if key in per_model},
    )


def _filled(method: str, p: Parameter, value: Any) -> Any:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_filled(method, p, each) for each in value]
    if value is None and p.is_required:
        raise ValueError(f"`{method}` needs `{p.name}` ({p.help}), but it is not given. Add it.")
    return p.default if value is None else value


def _keep(*names: str) -> Callable[[Values], Values]:
    return lambda values: {name: values[name] for name in names}


def _pairs(first: Any, second: Any) -> list[tuple[float, float]]:
    """Two parameters of each model, side by side."""
    models = max(len(value) if isinstance(value, Sequence) else 1 for value in (first, second))
    one, other = (value if isinstance(value, Sequence) else [value] * models for value in (first, second))
    return list(zip(one, other, strict=True))


def _capped(density: Any) -> Any:
    """A density above 1 keeps no more than everything."""
    return [_capped(each) for each in density] if isinstance(density, Sequence) else min(density, 1.0)


def _nuslerp(values: Values) -> Values:
    flatten, columns = values["nuslerp_flatten"], values["nuslerp_row_wise"]
    if columns and not flatten:
        raise ValueError(
            "`nuslerp_row_wise: true` makes mergekit take the columns for vectors, and `nuslerp` here takes the tensor "
            "or its rows. Set it to false for rows, or merge with mergekit's own formulas."
        )
    return {"weight": values["weight"], "along": "tensor" if flatten else "rows"}


def _task_arithmetic(values: Values) -> Values:
    weight = values["weight"]
    total = sum(weight) if isinstance(weight, Sequence) else weight
    # mergekit leaves a sum undivided whose weights cancel
    return {
        **_keep("weight", "lambda")(values),
        "normalize": values["normalize"] and abs(total) >= _NO_WEIGHT,
    }


def _thinned(values: Values) -> Values:
    return {**_keep("weight", "normalize", "lambda")(values), "density": _capped(values["density"])}


def _trimmed(*names: str) -> Callable[[Values], Values]:
    def translated(values: Values) -> Values:
        if values["rescale"] and any(density < 1 for density, _ in _pairs(values["density"], 0.0)):
            raise ValueError(
                "`rescale: true` restores the L1 norm of what was trimmed, which is not part of this method as "
                "published. Set it to false, or merge with mergekit's own formulas."
            )
        return {**_thinned(values), **_keep(*names)(values)}

    return translated


def _dare(values: Values) -> Values:
    return {**_thinned(values), "rescale": "exact" if values["rescale"] else "none"}


def _della(values: Values) -> Values:
    widths = {epsilon for density, epsilon in _pairs(values["density"], values["epsilon"]) if density < 1}
    if len(widths) > 1:
        raise ValueError(
            f"`epsilon` is {sorted(widths)} for different models, and DELLA here has one for all. Give all the same, "
            "or merge with mergekit's own formulas."
        )
    return {**_dare(values), **({"epsilon": widths.pop()} if widths else {})}


def _karcher_back(values: Values) -> Values:
    weight = values["weight"]
    if isinstance(weight, Sequence) and len(set(weight)) > 1:
        raise ValueError(
            f"`karcher` has the weights {list(weight)}, and mergekit weighs all models alike. Give all the same weight."
        )
    return _keep("max_iter", "tol")(values)


def _ramplus_back(values: Values) -> Values:
    if values["scope"] != "tensor":
        raise ValueError(
            "`ramplus` counts shares over the whole model, and mergekit in each tensor only. Set `scope` to tensor."
        )
    return _keep("r", "alpha", "epsilon")(values)


def _nuslerp_back(values: Values) -> Values:
    by_rows = values["along"] == "rows"
    return {"weight": values["weight"], "nuslerp_flatten": not by_rows, "nuslerp_row_wise": False}


def _rescaled_back(*names: str) -> Callable[[Values], Values]:
    kept = _keep("weight", "density", "normalize", "lambda", *names)
    return lambda values: {**kept(values), "rescale": values["rescale"] != "none"}


_Row: TypeAlias = "tuple[str, Callable[[Values], Values]]"

_TO_OURS: Mapping[str, _Row] = MappingProxyType(
    {
        "linear": ("linear", _keep("weight", "normalize")),
        "slerp": ("slerp", _keep("t")),
        "nuslerp": ("nuslerp", _nuslerp),
        "multislerp": ("multislerp", _keep("weight", "normalize_weights", "eps")),
        "karcher": ("karcher", _keep("max_iter", "tol")),
        "passthrough": ("passthrough", _keep("scale")),
        "model_stock": ("model_stock", lambda v: {"along": "rows" if v["filter_wise"] else "tensor"}),
        "arcee_fusion": ("arcee_fusion", _keep()),
        "nearswap": ("nearswap", _keep("t")),
        "sce": ("sce", _keep("select_topk")),
        "ram": ("ram", _keep("epsilon")),
        "ramplus_tl": ("ramplus", lambda v: {**_keep("r", "alpha", "epsilon")(v), "scope": "tensor"}),
        "task_arithmetic": ("task_arithmetic", _task_arithmetic),
        "ties": ("ties", _trimmed()),
        "dare_linear": ("dare_linear", _dare),
        "dare_ties": ("dare_ties", _dare),
        "breadcrumbs": ("breadcrumbs", _trimmed("gamma")),
        "breadcrumbs_ties": ("breadcrumbs_ties", _trimmed("gamma")),
        "della": ("della", _della),
        "della_linear": ("della_linear", _della),
    }
)
"""Our method for each of mergekit's, and its parameters from all of mergekit's."""

_SUM = ("weight", "density", "normalize", "lambda")

_TO_MERGEKIT: Mapping[str, _Row] = MappingProxyType(
    {
        "linear": ("linear", _keep("weight", "normalize")),
        "slerp": ("slerp", _keep("t")),
        "nuslerp": ("nuslerp", _nuslerp_back),
        "multislerp": ("multislerp", _keep("weight", "normalize_weights", "eps")),
        "karcher": ("karcher", _karcher_back),
        "passthrough": ("passthrough", _keep("scale")),
        "model_stock": ("model_stock", lambda v: {"filter_wise": v["along"] == "rows"}),
        "arcee_fusion": ("arcee_fusion", _keep()),
        "nearswap": ("nearswap", _keep("t")),
        "sce": ("sce", _keep("select_topk")),
        "ram": ("ram", _keep("epsilon")),
        "ramplus": ("ramplus_tl", _ramplus_back),
        "task_arithmetic": ("task_arithmetic", _keep("weight", "normalize", "lambda")),
        "ties": ("ties", _keep(*_SUM)),
        "dare_linear": ("dare_linear", _rescaled_back()),
        "dare_ties": ("dare_ties", _rescaled_back()),
        "breadcrumbs": ("breadcrumbs", _keep(*_SUM, "gamma")),
        "breadcrumbs_ties": ("breadcrumbs_ties", _keep(*_SUM, "gamma")),
        "della": ("della", _rescaled_back("epsilon")),
        "della_linear": ("della_linear", _rescaled_back("epsilon")),
    }
)
"""mergekit's method for each of ours, and its parameters from all of ours."""
