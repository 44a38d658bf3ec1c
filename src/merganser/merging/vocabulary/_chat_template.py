r"""Chat templates: chosen among those of the models, by name, or given; and written to one place.

A template is a Jinja text that lays out a conversation as the model has learnt it. It may stand in three places, of
which the first counts:

| place | form |
| --- | --- |
| ``chat_template.jinja`` | the text |
| ``chat_template.json`` | a JSON object with the text under ``chat_template`` |
| ``tokenizer_config.json`` | the text under ``chat_template``, or a list of ``{name, template}``: ``default`` counts |

The templates known by name follow the formats that the models' makers describe: Stanford's Alpaca, OpenAI's ChatML,
Meta's Llama 3, Mistral's instructions, LG's EXAONE 3.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from merganser._errors import CheckpointError, ConfigError
from merganser.merging.vocabulary._tokenizer import read_json
from merganser.weights import Checkpoint, atomic_write_text

_TEXT = "chat_template.jinja"
_PLACES = ("chat_template.json", "tokenizer_config.json")

_ALPACA = """\
{{- bos_token }}
{%- for message in messages %}
    {%- if message['role'] == 'system' %}
        {{- message['content'] + '\n\n' }}
    {%- elif message['role'] == 'user' %}
        {{- '### Instruction:\n' + message['content'] + '\n\n' }}
    {%- elif message['role'] == 'assistant' %}
        {{- '### Response:\n' + message['content'] + eos_token + '\n\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '### Response:\n' }}
{%- endif %}
"""

_CHATML = """\
{%- for message in messages %}
    {{- '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
{%- endif %}
"""

_LLAMA3 = """\
{{- bos_token }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' }}
    {{- message['content'] | trim }}
    {{- '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %}
"""

_MISTRAL = """\
{{- bos_token }}
{%- set said = namespace(system='') %}
{%- for message in messages %}
    {%- if message['role'] == 'system' %}
        {%- set said.system = message['content'] + '\n\n' %}
    {%- elif message['role'] == 'user' %}
        {{- '[INST] ' + said.system + message['content'] + ' [/INST]' }}
        {%- set said.system = '' %}
    {%- elif message['role'] == 'assistant' %}
        {{- ' ' + message['content'] + eos_token }}
    {%- endif %}
{%- endfor %}
"""

_EXAONE = """\
{%- if not messages or messages[0]['role'] != 'system' %}
    {{- '[|system|][|endofturn|]\n' }}
{%- endif %}
{%- for message in messages %}
    {{- '[|' + message['role'] + '|]' + message['content'] }}
    {{- '\n' if message['role'] == 'user' else '[|endofturn|]\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '[|assistant|]' }}
{%- endif %}
"""

CHAT_TEMPLATES: Mapping[str, str] = MappingProxyType(
    {"alpaca": _ALPACA, "chatml": _CHATML, "llama3": _LLAMA3, "mistral": _MISTRAL, "exaone": _EXAONE}
)
"""Chat templates that are known by name."""


def chat_template(models: Sequence[Checkpoint], wanted: str) -> str:
    """The chat template that is asked for.

    Args:
        models: The models that are merged.
        wanted: ``"auto"`` for the commonest among the models, the earliest if several are; a name in
            `CHAT_TEMPLATES`; or a Jinja text.

    Raises:
        ConfigError: If it is no name and no Jinja text, no model has a template, or Jinja is not installed.
        CheckpointError: If a model's file is damaged.
    """
    if wanted == "auto":
        found = [template for template in map(_template_of, models) if template]
        if not found:
            raise ConfigError(
                "`chat_template: auto` takes the commonest template of the models, but none has one. Name one of "
                f"{', '.join(CHAT_TEMPLATES)}, or leave it out."
            )
        return Counter(found).most_common(1)[0][0]
    if wanted in CHAT_TEMPLATES:
        return CHAT_TEMPLATES[wanted]
    if "{" not in wanted:
        raise ConfigError(
            f"Expected `chat_template` to be auto, one of {', '.join(CHAT_TEMPLATES)}, or a Jinja text with braces "
            f"in it, but found {wanted!r}."
        )
    _check_syntax(wanted)
    return wanted


def write_chat_template(folder: Path, template: str) -> None:
    """Write a chat template into a model's folder, and take it out of all other places.

    Args:
        folder: The folder; its tokenizer is there already.
        template: The text.

    Raises:
        CheckpointError: If a file that is there is damaged.
        OutputError: If the folder cannot be written to.
    """
    for path in (folder / place for place in _PLACES):
        settings = read_json(path)
        if settings.pop("chat_template", None) is None:
            continue
        if settings:
            atomic_write_text(path, json.dumps(settings, ensure_ascii=False, indent=2) + "\n")
        else:
            path.unlink()
    atomic_write_text(folder / _TEXT, template)


def _template_of(model: Checkpoint) -> str | None:
    """A model's own chat template; None if it has none."""
    if model.home is None:
        return None
    path = model.home / _TEXT
    if path.is_file():
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise CheckpointError(f"{path} cannot be read: {error}.") from error
    stated = (read_json(model.home / place).get("chat_template") for place in _PLACES)
    return next((template for template in map(_default, stated) if template), None)


def _default(stated: Any) -> str | None:
    """The template that counts of what a file states."""
    if isinstance(stated, list):
        named = {entry.get("name"): entry.get("template") for entry in stated if isinstance(entry, dict)}
        stated = named.get("default")
    return stated if isinstance(stated, str) else None


def _check_syntax(template: str) -> None:
    try:
        from jinja2 import Environment, TemplateSyntaxError, nodes
        from jinja2.ext import Extension
    except ImportError as error:
        raise ConfigError(
            "A chat template of your own is checked with Jinja, which is not installed: "
            "pip install 'merganser[transformers]'."
        ) from error

    class Generation(Extension):
        """The tag with which templates mark what the assistant says."""

        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Any) -> list[nodes.Node]:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    try:
        Environment(extensions=["jinja2.ext.loopcontrols", Generation]).parse(template)  # noqa: S701
    except TemplateSyntaxError as error:
        raise ConfigError(
            f"`chat_template` is no valid Jinja: line {error.lineno}: {error.message}. Correct it, or name one of "
            f"{', '.join(CHAT_TEMPLATES)}."
        ) from error
