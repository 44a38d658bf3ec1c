"""The ancestry is that of the event log."""

from dataclasses import replace

import pytest

from merganser.report import lineage_info, run_info
from merganser.run import Child


def child(index, parents=(), weight=0.5, split=50, score=0.5):
    kind = "cross" if parents else "seed"
    return Child(index, f"{index:032x}", kind, parents, weight, split, True, 10, score, None, 0.0)


@pytest.fixture(scope="module")
def family(combination):
    """A run whose log is replaced by a small one over 100 parameters; its leader is the youngest child."""

    def make(*children):
        return replace(
            run_info(combination), events={c.index: c for c in children}, leader=children[-1].index, size=100
        )

    return make


def test_only_ancestors_are_in_it(family):
    info = family(child(0), child(1), child(2, (0, 1)), child(3, (0, 1)), child(4, (2, 1)))
    lineage = lineage_info(info)
    assert [a.event.index for a in lineage.ancestors] == [0, 1, 2, 4]
    assert [(d.parent, d.child, d.direct) for d in lineage.descents] == [
        (0, 2, True),
        (1, 2, True),
        (1, 4, True),
        (2, 4, True),
    ]
    assert [a.name for a in lineage.ancestors] == ["classes 0-4", "classes 5-9", None, None]
    assert [a.generation for a in lineage.ancestors] == [0, 0, 1, 2]


def test_the_share_of_a_parent_follows_weight_and_split(family):
    # 30 of 100 positions take 0.2 from the second, the other 70 take 0.8
    info = family(child(0), child(1), child(2, (0, 1), weight=0.2, split=30))
    shares = {a.event.index: a.share for a in lineage_info(info).ancestors}
    assert shares == pytest.approx({0: 0.38, 1: 0.62, 2: 1.0})


def test_the_shares_of_the_seeds_sum_to_one(combination):
    lineage = lineage_info(run_info(combination))
    assert sum(a.share for a in lineage.ancestors if a.name is not None) == pytest.approx(1.0)


def test_a_child_of_one_parent_twice_descends_from_it_once(family):
    lineage = lineage_info(family(child(0), child(1, (0, 0))))
    assert lineage.descents == ((0, 1, True),)
    assert lineage.ancestors[0].share == pytest.approx(1.0)


def test_a_copy_takes_everything_from_its_parent(family):
    lineage = lineage_info(family(child(0), child(1, (0,), weight=0.0, split=0)))
    assert [a.share for a in lineage.ancestors] == [1.0, 1.0]


def test_long_lineages_are_cut_and_bridged_so_that_all_lines_meet_in_the_winner(family):
    chain = [child(0), child(1), *(child(i, (i - 1, i - 2)) for i in range(2, 60))]
    lineage = lineage_info(family(*chain), most=10)
    kept = {a.event.index for a in lineage.ancestors}
    assert len(kept) == 10 + 2 + 1
    assert lineage.hidden == 60 - 13
    assert any(not d.direct for d in lineage.descents)
    reached, waiting = {59}, [59]
    while waiting:
        here = waiting.pop()
        new = {d.parent for d in lineage.descents if d.child == here} - reached
        reached |= new
        waiting.extend(new)
    assert reached == kept
    assert all(d.parent < d.child for d in lineage.descents)


def test_the_deepest_lineage_counts_its_generations(family):
    lineage = lineage_info(family(child(0), *(child(i, (i - 1, 0)) for i in range(1, 2_000))))
    assert lineage.generations == 1_999


def test_candidates_of_a_distribution_have_no_ancestors(runs):
    lineage = lineage_info(run_info(runs("cma-es", search="cma-es", budget=60)))
    assert len(lineage.ancestors) == 1
    assert lineage.descents == ()


def test_without_members_there_is_no_lineage(combination):
    assert lineage_info(replace(run_info(combination), leader=None)) is None
