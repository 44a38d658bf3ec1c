"""SVF as a method of PEFT, registered from outside.

PEFT names its methods in an enumeration that is closed. Until SVF is in it, a member is put in before the method is
registered; the places that this touches are those of Python's `enum` and of PEFT from 0.21 on, and are checked first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from merganser._errors import ConfigError

if TYPE_CHECKING:
    from merganser.adaptation._peft_tuner import SvfConfig

_OLDEST = (0, 21)
_NAME = "SVF"


def register_with_peft() -> type[SvfConfig]:
    """Make SVF known to PEFT, in this process, once or again.

    To be called before ``get_peft_model`` and before ``PeftModel.from_pretrained`` loads what was saved.

    Returns:
        The class of configurations, as `LoraConfig` is that of LoRA.

    Raises:
        ConfigError: If PEFT is not installed, too old, or has an SVF of its own.
    """
    try:
        import peft
        from peft.utils import register_peft_method
    except ImportError as error:
        raise ConfigError(
            "SVF as a PEFT tuner needs the library peft, from version 0.21 on, which is not installed. Install it "
            "with: pip install 'merganser[peft]'"
        ) from error
    _check_version(peft.__version__)
    from merganser.adaptation._peft_tuner import SvfConfig, SvfModel

    known = peft.mapping.PEFT_TYPE_TO_CONFIG_MAPPING
    if _NAME in peft.PeftType.__members__:
        if known.get(peft.PeftType[_NAME]) is not SvfConfig:
            raise ConfigError(
                f"peft {peft.__version__} has a method {_NAME} of its own. Use that, or `attach` of this package."
            )
        return SvfConfig
    _add_member(peft.PeftType)
    register_peft_method(name=_NAME.lower(), config_cls=SvfConfig, model_cls=SvfModel, prefix=SvfModel.prefix)
    return SvfConfig


def _check_version(found: str) -> None:
    if tuple(int(part) for part in found.split(".")[:2]) < _OLDEST:
        raise ConfigError(
            f"Expected peft from version {'.'.join(map(str, _OLDEST))} on, found {found}. Upgrade it with: pip install "
            "'merganser[peft]'"
        )


def _add_member(kind: type) -> None:
    """Put the name into the enumeration as Python's `enum` would have."""
    tables = [
        getattr(kind, table, None) for table in ("_member_map_", "_value2member_map_", "_member_names_")
    ]
    by_name, by_value, names = tables
    if not (isinstance(by_name, dict) and isinstance(by_value, dict) and isinstance(names, list)):
        raise ConfigError(
            "This version of Python or peft keeps its method names otherwise. Use `attach` instead."
        )
    member = str.__new__(kind, _NAME)
    member._name_ = member._value_ = _NAME
    by_name[_NAME] = by_value[_NAME] = member
    names.append(_NAME)
    type.__setattr__(kind, _NAME, member)
