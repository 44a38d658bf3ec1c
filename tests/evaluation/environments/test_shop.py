"""The shop: every goal can be reached, chance does not reach them, and the reward is WebShop's formula."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from merganser import TaskError
from merganser.evaluation import EnvironmentTask
from merganser.evaluation.environments import EnvironmentSource, EpisodePrompt
from merganser.evaluation.environments.shop import (
    SHOP_PROMPT,
    STEPS,
    Goal,
    Shop,
    catalogue,
    demonstrations,
    goals,
    judge,
    oracle,
    practice_goals,
    random_player,
    visit,
)
from merganser.evaluation.environments.shop._search import Index


@pytest.fixture(scope="module")
def found():
    return catalogue()


@pytest.fixture
def shop(found):
    """A shop that was entered with the first goal."""
    made = Shop(found)
    made.reset(goals(found, 0, 1)[0].question().facts())
    return made


def actions(shop, *texts):
    return [shop.step(text) for text in texts][-1]


@pytest.mark.parametrize("seed", range(2))
def test_the_oracle_reaches_every_goal_within_the_steps(seed):
    found = catalogue(seed)
    episodes = visit(found, goals(found, seed, 500) + practice_goals(found, seed, 200), oracle)
    assert len(episodes) == 700
    assert {(e.reward, e.ended) for e in episodes} == {(1, "done")}
    assert max(len(e.turns) for e in episodes) <= STEPS


def test_chance_does_not(found):
    wanted = goals(found, 0, 200)
    episodes = visit(found, wanted, random_player(0))
    assert 0 < np.mean([e.reward for e in episodes]) < 0.3
    assert visit(found, wanted, random_player(0)) == episodes
    assert visit(found, wanted, random_player(1)) != episodes
    assert {e.reward for e in episodes if e.ended != "done"} == {0}


def test_products_and_goals_follow_from_the_seed_alone():
    """Written down, so that no version of Python or of a library changes them unnoticed."""
    first = catalogue(0).products[0]
    assert (first.title, first.price) == ("veyra quick drying wrinkle free running shoes", 11108)
    assert catalogue(0, 500).products == catalogue(0).products[:500]
    assert catalogue(1).products[0] != first
    expected = (
        "my sister would like body lotion (anti aging, plant based, dermatologist tested), citrus scent and 4 ounce "
        "volume please, below 50 dollars"
    )
    assert goals(catalogue(0), 0, 1)[0].text == expected
    assert goals(catalogue(0), 0, 5) == goals(catalogue(0), 0, 200)[:5]


def test_goals_are_all_different_and_demonstrations_have_others(found):
    wanted = {goal.text for goal in goals(found, 0, 500)}
    assert len(wanted) == 500
    assert not wanted & {goal.text for goal in practice_goals(found, 0, 500)}


@pytest.mark.parametrize("count", [0, 501])
def test_goals_that_cannot_be_made_are_refused(found, count):
    with pytest.raises(TaskError, match=f"come 1 to 500 goals, but `goals` is {count}"):
        goals(found, 0, count)


def test_a_shop_too_small_for_all_types_is_refused():
    with pytest.raises(ValueError, match="at least 50 products, but `products` is 49"):
        catalogue(0, 49)


@given(st.integers(0, 499), st.integers(0, 999), st.integers(0, 63))
def test_the_reward_is_the_papers_formula(wanted, bought, choices):
    """r = r_type (|U_att ∩ Y_att| + |U_opt ∩ Y_opt| + 1[y_price <= u_price]) / (|U_att| + |U_opt| + 1)."""
    found = catalogue()
    goal, product = goals(found, 0, 500)[wanted], found.products[bought]
    chosen = {n: v[choices % len(v)] for i, (n, v) in enumerate(product.options.items()) if choices >> i & 1}
    matched = 0
    for attribute in goal.attributes:
        matched += attribute in product.attributes
    for name, value in goal.options.items():
        matched += chosen.get(name) == value
    matched += product.price / 100 <= goal.limit
    reward = matched / (len(goal.attributes) + len(goal.options) + 1)
    if product.category != goal.category:
        reward = 0
    elif product.type != goal.type:
        reward /= 2
    assert judge(goal, product, chosen).reward == pytest.approx(reward)


def test_a_visit_page_by_page(shop):
    assert shop.page == "search"
    text, reward, done = shop.step("search[body lotion]")
    assert (reward, done) == (0, False)
    assert text.splitlines()[0] == f"Instruction: {shop.goal.text}"
    assert text.splitlines()[1] == "Results, page 1 of 8"
    assert text.splitlines()[-1] == "[Back to Search] [Next >]"
    first = shop.listed
    assert len(first) == 5
    assert "body lotion" in first[0].title
    assert "page 2 of 8" in shop.step("click[Next >]")[0]
    assert not any(product in first for product in shop.listed)
    shop.step("click[< Prev]")
    assert shop.listed == first
    page = shop.step(f"click[{first[1].id.upper()}]")[0]
    assert page.splitlines()[1].startswith(first[1].title)
    name, values = next(iter(first[1].options.items()))
    assert f"(chosen: {values[0]})" in shop.step(f"click[{values[0]}]")[0]
    assert f"(chosen: {values[1]})" in shop.step(f"click[{values[1]}]")[0]
    assert shop.chosen == {name: values[1]}
    shop.step("click[< Prev]")
    assert shop.listed == first
    actions(shop, f"click[{first[1].id}]")
    assert shop.chosen == {}
    assert actions(shop, "click[Back to Search]")[0].endswith("Search page: search[words]")
    assert "Nothing found" in shop.step("search[xylophone]")[0]


def test_buying_ends_the_visit_and_says_what_was_right(shop):
    actions(
        shop, "search[anti aging plant based dermatologist tested body lotion citrus 4 ounce]", "click[p0645]"
    )
    text, reward, done = shop.step("click[buy now]")
    assert (done, reward) == (True, pytest.approx(4 / 6))
    assert text == (
        "Bought hollin plant based sulfate free body lotion, $29.71: the right type, 3 of 3 attributes, 0 of 2 "
        "options, price within the limit."
    )
    assert shop.clickable == ()
    assert shop.step("click[Buy Now]")[1:] == (0, False)


@pytest.mark.parametrize(
    "action",
    ["", "buy", "click[Buy Now]", "click[]", "search[]", "search[ ]", "search", "click[p0000]", "[search]"],
)
def test_what_a_page_does_not_take_changes_nothing(shop, action):
    text, reward, done = shop.step(action)
    assert (reward, done, shop.page) == (0, False, "search")
    assert text.startswith("Nothing happens")
    assert text.endswith("Search page: search[words]")


def test_search_is_for_its_page_only_and_the_first_action_counts(shop):
    assert "Results" in shop.step("I think: Search [green tea] then click[p0000]")[0]
    assert "Nothing happens" in shop.step("search[shampoo]")[0]


def test_search_finds_what_a_slow_loop_finds(found):
    texts = [product.words for product in found.products[:120]]
    words = "red small machine washable cardigan"
    documents = [text.replace("-", " ").split() for text in texts]
    mean = np.mean([len(d) for d in documents])

    def worth(document):
        total = 0
        for word in words.split():
            having = sum(word in d for d in documents)
            idf = np.log(1 + (len(documents) - having + 0.5) / (having + 0.5))
            count = document.count(word)
            total += idf * count * 2.5 / (count + 1.5 * (0.25 + 0.75 * len(document) / mean))
        return total

    values = np.array([worth(d) for d in documents])
    best = Index(texts).find(words, 10)
    assert values[best] == pytest.approx(np.sort(values)[::-1][:10])
    assert Index(texts).find("xylophone", 10) == []


def test_a_goal_goes_through_a_sample_unchanged(found):
    goal = goals(found, 0, 1)[0]
    assert Goal.of(goal.question().facts()) == goal
    with pytest.raises(TaskError, match="Expected a goal of the shop"):
        Shop(found).reset({"question": "red shoes", "fields": {}})


@pytest.mark.parametrize(
    "prompt",
    [SHOP_PROMPT, dataclasses.replace(SHOP_PROMPT, window=0), EpisodePrompt("{observation}", chat=True)],
)
def test_who_learns_the_demonstrations_by_heart_plays_as_the_oracle(found, prompt, table):
    """What is trained on is what the task asks, letter for letter."""
    model = table({})
    shown = demonstrations(3, 20, prompt=prompt, render=model.render)
    model.actions = dict(shown)
    wanted = tuple(goal.question() for goal in practice_goals(found, 3, 20))
    source = EnvironmentSource("shop", lambda: Shop(found))
    task = EnvironmentTask("practice", wanted, source, prompt)
    episodes = task.episodes(model, np.arange(20))
    assert [e.reward for e in episodes] == [1] * 20
    assert sum(len(e.turns) for e in episodes) == len(shown)
    assert demonstrations(3, 20, prompt=prompt, render=model.render) == shown
    assert demonstrations(4, 20, prompt=prompt, render=model.render) != shown
