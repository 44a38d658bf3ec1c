"""What these tests share: the storyteller with three experts of random scales."""

from __future__ import annotations

import pytest

from merganser.adaptation.strategies import AdaptiveModel, Fixed, Specialist

from ..conftest import STORIES, expert_of  # noqa: TID252 - tests are no package

__all__ = ["NAMES", "STORIES", "expert_of"]
NAMES = ("cats", "dogs", "birds")


@pytest.fixture(scope="session")
def experts(factors):
    return {name: expert_of(factors, seed) for seed, name in enumerate(NAMES)}


@pytest.fixture
def model(stories, experts):
    said = {name: Specialist(each, f"stories of {name}") for name, each in experts.items()}
    return AdaptiveModel.of(stories, said, Fixed())
