"""Small real models that speak: one counts characters, one adds by rule."""

import math
import re
from collections import Counter

import pytest

from merganser.models import LogLikelihood, Response


class Bigrams:
    """Characters after characters, as often as in a text; add-one smoothing over 256 characters."""

    def __init__(self, text):
        self.pairs, self.firsts = Counter(zip("\n" + text, text, strict=False)), Counter("\n" + text[:-1])

    def log_likelihoods(self, requests):
        answers = []
        for request in requests:
            before, total, greedy = (request.context or "\n")[-1], 0.0, True
            for character in request.text:
                total += math.log((self.pairs[before, character] + 1) / (self.firsts[before] + 256))
                greedy &= self._next(before) == character
                before = character
            answers.append(LogLikelihood(total, len(request.text), greedy))
        return answers

    def generate(self, requests):
        answers = []
        for request in requests:
            text, ended = "", "tokens"
            while len(text) < request.max_tokens:
                text += self._next((request.prompt + text)[-1])
                stop = next((s for s in request.stop if s in text), None)
                if stop is not None:
                    text, ended = text[: text.index(stop)], "stop"
                    break
            answers.append(Response(text, len(text), ended))
        return answers

    def render(self, messages):
        return "".join(f"<{m['role']}>{m['content']}" for m in messages) + "<assistant>"

    def _next(self, before):
        likely = {b: n for (a, b), n in self.pairs.items() if a == before}
        return max(sorted(likely), key=likely.get) if likely else " "


class Adder:
    """Adds the last two numbers of a prompt; wrong by `error` where their sum is above `limit`."""

    def __init__(self, limit=math.inf, error=1):
        self.limit, self.error, self.prompts = limit, error, []

    def generate(self, requests):
        self.prompts += [r.prompt for r in requests]
        return [Response(self._answer(r.prompt), 5, "stop") for r in requests]

    def log_likelihoods(self, requests):
        """The sum is certain, everything else is the less probable the longer it is."""
        answers = []
        for request in requests:
            right = request.text.strip() == str(self._sum(request.context))
            total = -0.1 if right else -1.0 * len(request.text)
            answers.append(LogLikelihood(total, len(request.text), right))
        return answers

    def render(self, messages):
        return "".join(f"<{m['role']}>{m['content']}" for m in messages) + "<assistant>"

    def _sum(self, prompt):
        total = sum(int(x) for x in re.findall(r"\d+", prompt)[-2:])
        return total + (self.error if total > self.limit else 0)

    def _answer(self, prompt):
        return f"That is {self._sum(prompt)}."


class Mute(Adder):
    """Says nothing."""

    def generate(self, requests):
        return [Response("", 0, "end") for _ in requests]


class Broken(Adder):
    """Its numbers have become NaN."""

    def generate(self, requests):
        raise ArithmeticError("logits hold nan")

    def log_likelihoods(self, requests):
        return [LogLikelihood(math.nan, 1, False) for _ in requests]


@pytest.fixture
def bigrams():
    """Makes a model from a text."""
    return Bigrams


@pytest.fixture
def adder():
    """Makes a model that adds, up to a limit."""
    return Adder


@pytest.fixture
def mute():
    """A model that says nothing."""
    return Mute()


@pytest.fixture
def broken():
    """A model that has become NaN."""
    return Broken()
