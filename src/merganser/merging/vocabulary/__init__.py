"""Vocabularies and tokenizers of merged models.

| names | what |
| --- | --- |
| [`VocabularyRules`][], [`TokenRule`][] | what a merge says of its vocabulary |
| [`ZeroRow`][], [`ModelRow`][], [`RowOf`][], [`RowSource`][] | where a token's row comes from |
| [`plan_vocabulary`][], [`Vocabulary`][] | the result's tokens; the models aligned to them; files and numbers |
| [`Tokenizer`][], [`tokenizer_of`][] | a model's tokenizer, as its files say |
| [`TOKENIZER_FILES`][] | files that a vocabulary writes |
| [`chat_template`][], [`write_chat_template`][], [`CHAT_TEMPLATES`][] | how conversations are laid out |
"""

from merganser.merging.vocabulary._chat_template import CHAT_TEMPLATES, chat_template, write_chat_template
from merganser.merging.vocabulary._rules import (
    ModelRow,
    RowOf,
    RowSource,
    TokenRule,
    VocabularyRules,
    ZeroRow,
)
from merganser.merging.vocabulary._tokenizer import TOKENIZER_FILES, Tokenizer, tokenizer_of
from merganser.merging.vocabulary._vocabulary import Vocabulary, plan_vocabulary

__all__ = [
    "CHAT_TEMPLATES",
    "TOKENIZER_FILES",
    "ModelRow",
    "RowOf",
    "RowSource",
    "TokenRule",
    "Tokenizer",
    "Vocabulary",
    "VocabularyRules",
    "ZeroRow",
    "chat_template",
    "plan_vocabulary",
    "tokenizer_of",
    "write_chat_template",
]
