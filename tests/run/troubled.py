"""A task that worker processes can import, and what can go wrong with it."""

import os
import signal
import time
from dataclasses import dataclass

import numpy as np

from merganser.evaluation import Classification, Marks, Splits

SAMPLES = 200


@dataclass(frozen=True)
class Troubled(Classification):
    """A toy task; with some models it takes its time, hangs, or ends the process."""

    trouble: str = ""

    def score(self, model, ids):
        choice = int(abs(float(model(self.inputs[:5]).sum())) * 1e6)
        if self.trouble == "uneven":
            time.sleep((choice % 7) / 400)
        elif self.trouble and choice % 4 == 1:
            if self.trouble == "hangs":
                time.sleep(60)
            os.kill(os.getpid(), signal.SIGKILL)
        return super().score(model, ids)


def toy(split, start=0, count=SAMPLES, trouble=""):
    inputs = np.random.default_rng(7).standard_normal((1_000, 6)).astype(np.float32)[start : start + count]
    plain = Classification.of("toy", inputs, (inputs[:, 0] > 0) + 2 * (inputs[:, 1] > 0), split)
    return Troubled(plain.name, plain.inputs, plain.samples, trouble=trouble)


def splits(trouble=""):
    return Splits(
        toy("search", trouble=trouble), toy("validation", SAMPLES, 100), toy("test", SAMPLES + 100, 100)
    )


def uneven():
    return splits("uneven")


def hangs():
    return splits("hangs")


def dies():
    return splits("dies")


def told():
    return splits(os.environ["TROUBLE"])


@dataclass(frozen=True)
class Strict(Classification):
    """A toy task that is content with near certainty only, and knows how near a model came."""

    enough: float = 1.0

    def mark(self, model, ids):
        answers = np.asarray(model(self.inputs[ids]), np.float64)
        odds = np.exp(answers - answers.max(axis=1, keepdims=True))
        margins = (odds / odds.sum(axis=1, keepdims=True))[np.arange(len(ids)), self.samples.labels[ids]]
        return Marks((margins > self.enough).astype(np.float64), margins)

    def score(self, model, ids):
        return self.mark(model, ids).scores


def strict():
    plain = splits()
    parts = (plain.search, plain.validation, plain.test)
    return Splits(*(Strict(p.name, p.inputs, p.samples, enough=0.999) for p in parts))


@dataclass(frozen=True)
class Proud(Strict):
    """With every other model it finds itself nearer than possible."""

    def mark(self, model, ids):
        scores, margins = super().mark(model, ids)
        return Marks(scores, margins + int(float(margins.sum()) * 1e6) % 2)


def proud():
    found = strict()
    return Splits(Proud(*(getattr(found.search, k) for k in ("name", "inputs", "samples"))), found.validation)
