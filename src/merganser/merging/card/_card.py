"""A model card: the `README.md` of a merged model, with the settings at its top that the Hugging Face hub reads.

The text is a function of the facts: no clock, no paths of this machine. A model that is not on the hub is called
`local: NAME`, by its last component, and is not among `base_model`, where the hub takes its own names only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath

import yaml

from merganser._errors import CheckpointError
from merganser._version import __version__
from merganser.merging.card._licence import Licence
from merganser.merging.card._verdict import Verdict
from merganser.merging.methods import METHODS
from merganser.weights import HubId, parse_reference

_LANGUAGE_MODEL = re.compile(r".*(ForCausalLM|LMHeadModel)")


@dataclass(frozen=True, slots=True)
class CardParent:
    """A model that went into a merge.

    Args:
        reference: How it was opened; None if it was only ever in memory.
        role: `base` or `model`.
        licence: Its licence.
        fingerprint: What it looked like.
        digest: Name of its content, if that was taken.
        languages: The languages its own card names.
    """

    reference: str | None
    role: str
    licence: Licence
    fingerprint: str
    digest: str | None = None
    languages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What a model card says.

    Args:
        name: The merged model's name.
        parents: What it was made of, in order.
        methods: The merge methods, by the names users give.
        verdict: The licence of the result.
        recipe: The recipe or configuration, as text that people can read.
        recipe_language: What the text is: `yaml` or `json`.
        architectures: As in `config.json`.
        parameters: Number of parameters, if known.
        dtype: Element type of the merged tensors, if it is one.
        tokenizer: Where the tokenizer comes from, in a sentence.
        chat_template: Where the chat template comes from, in a sentence.
        notes: What else a reader should know.
        is_adapter: Whether it is an adapter of the parents' base.
    """

    name: str
    parents: tuple[CardParent, ...]
    methods: tuple[str, ...]
    verdict: Verdict
    recipe: str
    recipe_language: str = "yaml"
    architectures: tuple[str, ...] = ()
    parameters: int | None = None
    dtype: str | None = None
    tokenizer: str | None = None
    chat_template: str | None = None
    notes: tuple[str, ...] = ()
    is_adapter: bool = False


def model_card(facts: CardFacts) -> str:
    """The model card as Markdown, with settings for the hub at the top.

    Raises:
        ValueError: If a method is unknown.
    """
    sections = (
        ("", _introduction(facts)),
        ("Made of", _parents(facts.parents)),
        ("How", _methods(facts.methods)),
        ("Recipe", _fenced(facts.recipe, facts.recipe_language)),
        ("Rebuild and check", _rebuilding(facts)),
        ("Licence", _licence(facts.verdict)),
        ("Notes", _listed(map(_line, facts.notes))),
    )
    body = "\n\n".join(f"## {title}\n\n{text}" if title else text for title, text in sections if text)
    named = _without_paths(body, facts.parents)
    return f"---\n{_front_matter(facts)}---\n\n# {_line(facts.name)}\n\n{named}\n"


def _front_matter(facts: CardFacts) -> str:
    licence = facts.verdict.licence
    languages = {parent.languages for parent in facts.parents}
    hub_ids = list(dict.fromkeys(name for parent in facts.parents for name in _hub_ids(parent.reference)))
    settings = {
        "base_model": hub_ids,
        "base_model_relation": "merge" if hub_ids else None,
        "library_name": "peft" if facts.is_adapter else "transformers" if facts.architectures else None,
        "pipeline_tag": "text-generation" if any(map(_LANGUAGE_MODEL.match, facts.architectures)) else None,
        "language": list(languages.pop()) if len(languages) == 1 else None,
        "license": licence.identifier,
        "license_name": _slug(licence.name) if licence.identifier == "other" and licence.name else None,
        "license_link": _address(licence.link) if licence.identifier == "other" and licence.link else None,
        "tags": ["merge", "merganser", *facts.methods],
    }
    said = {key: value for key, value in settings.items() if value}
    return yaml.safe_dump(said, sort_keys=False, allow_unicode=True)


def _introduction(facts: CardFacts) -> str:
    amount = f"{facts.parameters:,} parameters" if facts.parameters else ""
    figures = ", ".join(filter(None, (*facts.architectures, amount, facts.dtype)))
    sentence = (
        f"A merge of {len(facts.parents)} models, made with Merganser {__version__}. Nothing was trained."
    )
    if facts.is_adapter:
        sentence += " This is an adapter: it needs the base, and PEFT or another library that puts it there."
    said = (_line(text) for text in (facts.tokenizer, facts.chat_template) if text)
    return "\n\n".join(filter(None, (sentence, figures, *said)))


def _parents(parents: Sequence[CardParent]) -> str:
    has_digests = any(parent.digest for parent in parents)
    header = ["model", "role", "licence", "fingerprint", *(["digest"] if has_digests else [])]
    rows = [header, ["---" for _ in header]]
    for parent in parents:
        digest = [f"`{parent.digest}`" if parent.digest else "–"] if has_digests else []
        shown = [_cell(_linked(parent.reference)), parent.role, _cell(parent.licence.known_as)]
        rows.append([*shown, f"`{parent.fingerprint}`", *digest])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _methods(names: Sequence[str]) -> str:
    if unknown := [name for name in names if name not in METHODS]:
        raise ValueError(f"There is no merge method {unknown[0]!r}. `merganser methods` lists them.")
    rules = ((name, METHODS[name].rule) for name in names)
    return _listed(f"`{name}`: {rule.summary} ([source]({_paper(rule.paper)}))" for name, rule in rules)


def _rebuilding(facts: CardFacts) -> str:
    has_files = all(parent.reference is not None for parent in facts.parents)
    how = (
        "`recipe.json` beside the weights says completely what was done. This does it again and compares every byte:"
        if has_files
        else "`recipe.json` beside the weights says what was done. Some of the models were never files: "
        "to do it again, give all of them, the base first."
    )
    return f"{how}\n\n{_fenced('merganser verify FOLDER' + ('' if has_files else ' MODEL …'), 'sh')}"


def _licence(verdict: Verdict) -> str:
    known_as, address = _line(verdict.licence.known_as), _address(verdict.licence.link)
    stated = (
        f"{known_as}{f' ([text]({address}))' if address else ''}. "
        "This follows from what the models' own cards and files say; it is no legal advice."
    )
    return "\n\n".join(filter(None, (stated, _listed(map(_line, (*verdict.obligations, *verdict.notes))))))


def _without_paths(text: str, parents: Iterable[CardParent]) -> str:
    """A text with the names of local models in the place of their paths, as they are or inside JSON."""
    given = (parent.reference for parent in parents if parent.reference is not None)
    references = {reference for reference in given if PurePath(reference).name != reference}
    for reference in sorted(references, key=len, reverse=True):
        named = "+".join(
            place.name if isinstance(place, PurePath) else str(place) for place in _places(reference)
        )
        text = text.replace(reference, named).replace(json.dumps(reference)[1:-1], named)
    return text


def _places(reference: str | None) -> tuple[PurePath | HubId, ...]:
    """Where the parts of a model are: hub ids and paths; none of what was only in memory."""
    if reference is None:
        return ()
    try:
        parsed = parse_reference(reference)
    except CheckpointError:  # was there when it was merged
        return (PurePath(reference),)
    return (parsed.model, *parsed.adapters)


def _hub_ids(reference: str | None) -> list[str]:
    return [place.name for place in _places(reference) if isinstance(place, HubId)]


def _linked(reference: str | None) -> str:
    shown = (
        f"[{place}](https://huggingface.co/{place.name})"
        if isinstance(place, HubId)
        else f"local: {place.name}"
        for place in _places(reference)
    )
    return " + ".join(shown) or "in memory"


def _paper(source: str) -> str:
    return source if source.startswith("http") else f"https://arxiv.org/abs/{source}"


def _address(link: str | None) -> str | None:
    """A link that leads somewhere from any page; a file's name in the parent's repository does not."""
    return link if link and re.fullmatch(r"https?://[^\s()]+", link) else None


def _fenced(text: str, language: str) -> str:
    """A block of code, in a fence longer than any inside."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}" if text.strip() else ""


def _listed(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _line(text: str) -> str:
    return " ".join(text.split())


def _cell(text: str) -> str:
    return _line(text).replace("|", "\\|")


def _slug(name: str) -> str:
    """A name as the hub takes it for `license_name`: lower case, digits, dots and hyphens."""
    return re.sub(r"[^a-z0-9.-]+", "-", name.lower()).strip("-")
