"""What a merged model says of itself: its licence, by those of its parents, and its card.

| names | what |
| --- | --- |
| [`licence_of`][], [`licence_named`][], [`Licence`][], [`UNKNOWN`][] | the licence of one model |
| [`combined`][], [`Verdict`][] | the licence of what is merged from several |
| [`front_matter`][], [`languages_of`][] | what a model's own card says at its top |
| [`model_card`][], [`CardFacts`][], [`CardParent`][] | the card of a merged model |
"""

from merganser.merging.card._card import CardFacts, CardParent, model_card
from merganser.merging.card._front_matter import front_matter, languages_of
from merganser.merging.card._licence import UNKNOWN, Licence, licence_named, licence_of
from merganser.merging.card._verdict import Verdict, combined

__all__ = [
    "UNKNOWN",
    "CardFacts",
    "CardParent",
    "Licence",
    "Verdict",
    "combined",
    "front_matter",
    "languages_of",
    "licence_named",
    "licence_of",
    "model_card",
]
