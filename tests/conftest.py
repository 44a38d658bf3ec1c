"""What all tests share: a cache of their own, and small real data."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "house", deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("house")


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory):
    """Digests are remembered in a folder of this session's own, by child processes too."""
    before = os.environ.get("MERGANSER_CACHE")
    os.environ["MERGANSER_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["MERGANSER_CACHE"]
    else:
        os.environ["MERGANSER_CACHE"] = before


@pytest.fixture(scope="session")
def small_npz(tmp_path_factory):
    """300 training and 100 test images of the digits as an npz file: starts without scikit-learn."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images = images.astype(np.float32)
    path = tmp_path_factory.mktemp("data") / "small.npz"
    np.savez(path, x_train=images[:300], y_train=labels[:300], x_test=images[300:400], y_test=labels[300:400])
    return path
