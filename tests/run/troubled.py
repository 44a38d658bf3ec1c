"""A task that worker processes can import, and what can go wrong with it."""

import os
import signal
import time
from dataclasses import dataclass

import numpy as np

from merganser.evaluation import Classification, Splits

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
