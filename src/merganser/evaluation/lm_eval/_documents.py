"""Documents of a task in order, the examples drawn for each, and the requests that they become.

lm-eval draws the examples of all documents one after the other from one generator. What is shown before a document
therefore depends on how many came before it. Here the examples of all documents are drawn first, in lm-eval's order;
then any document can be asked on its own, and is asked exactly what lm-eval asks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from merganser._errors import TaskError
from merganser.evaluation._samples import content_hashes
from merganser.evaluation.lm_eval._settings import LmEvalSettings
from merganser.models import TextModel

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance
    from lm_eval.api.task import ConfigurableTask

Document = dict[str, Any]

_POOL = 64
"""Documents set apart as examples, if there are enough and the examples would otherwise be scored too."""


def hashes_of(documents: Sequence[Document]) -> tuple[str, ...]:
    """Hash of each document's content, 16 hex digits."""
    return content_hashes(
        json.dumps(document, sort_keys=True, ensure_ascii=False, default=str).encode()
        for document in documents
    )


@dataclass(frozen=True)
class Documents:
    """What a task asks about, in order.

    Attributes:
        task: lm-eval's task; it makes the prompts and grades the answers.
        documents: The documents.
        examples: Those shown before each document.
        settings: How it is asked.
    """

    task: ConfigurableTask
    documents: tuple[Document, ...]
    examples: tuple[tuple[Document, ...], ...]
    settings: LmEvalSettings

    @cached_property
    def hashes(self) -> tuple[str, ...]:
        """Hash of each document's content."""
        return hashes_of(self.documents)

    @cached_property
    def example_hashes(self) -> tuple[str, ...]:
        """Hash of the examples of each document."""
        return tuple(
            hashlib.blake2b("".join(hashes_of(e)).encode(), digest_size=8).hexdigest() for e in self.examples
        )

    def requests(self, position: int, model: TextModel) -> list[Instance]:
        """lm-eval's requests for one document, unanswered.

        Args:
            position: Of the document.
            model: Its chat template writes the prompt where that is asked for.
        """
        document, settings = self.documents[position], self.settings
        template = _chat_template(model) if settings.chat_template else None
        self.task.sampler = _Drawn(self.examples[position])  # pyright: ignore[reportAttributeAccessIssue]
        context = self.task.fewshot_context(
            document,
            num_fewshot=self.task.config.num_fewshot or 0,
            system_instruction=settings.system_prompt,
            apply_chat_template=settings.chat_template,
            fewshot_as_multiturn=settings.multiturn,
            chat_template=template,
            gen_prefix=self.task.doc_to_prefix(document),
        )
        made = self.task.construct_requests(
            doc=document,
            ctx=context,
            metadata=(self.task.config.task, position, self.task.config.repeats),
            apply_chat_template=settings.chat_template,
            chat_template=template,
        )
        return made if isinstance(made, list) else [made]


def draw(
    task: ConfigurableTask, documents: Sequence[Document], pool: Sequence[Document], settings: LmEvalSettings
) -> Documents:
    """Draw the examples of all documents in order, as lm-eval does.

    Args:
        task: lm-eval's task.
        documents: In the order in which they are asked.
        pool: Where examples come from.
        settings: The seed of the draw.

    Raises:
        TaskError: If the pool is too small.
    """
    count = task.config.num_fewshot or 0
    if count == 0:
        return Documents(task, tuple(documents), ((),) * len(documents), settings)
    sampler = type(task.sampler)(list(pool))
    sampler.set_rnd(settings.seed)
    same = task.fewshot_cfg.split == task.config.test_split
    try:
        drawn = tuple(tuple(sampler.sample(n=count, eval_doc=d if same else None)) for d in documents)
    except (AssertionError, ValueError) as error:
        raise TaskError(
            f"{task.config.task} shows {count} examples before each question, but only {len(pool)} documents are "
            "there to draw from. Ask for fewer with `num_fewshot`, or name another `fewshot_split` in its task file."
        ) from error
    return Documents(task, tuple(documents), drawn, settings)


def apart(
    task: ConfigurableTask, documents: Sequence[Document], pool: Sequence[Document]
) -> tuple[list[Document], frozenset[str]]:
    """A pool of examples, and the contents that may not be scored because it holds them.

    Where the pool and the documents share little, the pool stays as it is, and what is shared is not scored. Where
    the pool is the documents themselves, some of them are set apart as the pool.

    Args:
        task: lm-eval's task.
        documents: What is to be scored.
        pool: Where lm-eval draws examples from.
    """
    count = task.config.num_fewshot or 0
    if count == 0:
        return list(pool), frozenset()
    pool_hashes = hashes_of(pool)
    scored = set(hashes_of(documents))
    shared = scored.intersection(pool_hashes)
    if 2 * len(shared) <= len(scored):
        return list(pool), frozenset(shared)
    contents = dict(zip(pool_hashes, pool, strict=True))  # each once
    if _takes_the_first(task):
        kept = list(contents)[:count]
    else:
        kept = sorted(contents)[: max(count + 1, min(_POOL, len(scored) // 4))]
    return [contents[h] for h in kept], frozenset(kept)


def without(documents: Sequence[Document], contents: Collection[str]) -> list[Document]:
    """The documents whose content is not among these."""
    hashes = hashes_of(documents)
    return [document for document, h in zip(documents, hashes, strict=True) if h not in contents]


def _takes_the_first(task: ConfigurableTask) -> bool:
    from lm_eval.api.samplers import FirstNSampler

    return isinstance(task.sampler, FirstNSampler)


def _chat_template(model: TextModel) -> Callable[..., str]:
    """The model's chat template as lm-eval calls it."""

    def written(messages: Sequence[Mapping[str, str]], add_generation_prompt: bool = True) -> str:
        if add_generation_prompt:
            return model.render(messages)
        *before, begun = messages  # an answer that the task begins and the model continues
        return model.render(before) + begun["content"]

    return written


@dataclass(frozen=True, slots=True)
class _Drawn:
    """Gives lm-eval the examples that have been drawn already."""

    examples: tuple[Document, ...]

    def sample(self, **_: Any) -> list[Document]:
        """The examples of the document that is being asked."""
        return list(self.examples)
