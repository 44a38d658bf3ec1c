"""What was not measured is told apart by cause."""

from merganser.run import Savings


def test_subsets_are_counted_less_what_scoring_members_again_cost():
    savings = Savings(cache=1, rejection=20, failures=0, subsets=300, rescored=40)
    assert savings.total == 281
    assert savings.causes == {"early rejection": 20, "subsets": 260, "cache": 1}
    assert Savings(**savings.to_json()) == savings


def test_a_run_that_scored_everything_saved_nothing_by_any_cause():
    assert Savings().causes == {}
