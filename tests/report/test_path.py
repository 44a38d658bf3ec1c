"""A path is told in a sentence and drawn block by block, from the outcome of a run."""

import pytest

from merganser.merging import Hop, LayerPath
from merganser.report import PathInfo, path_info, path_words, run_info, write_report
from merganser.report._path_chart import MOST_LABELS, path_chart

A, B = 0, 1


def made(*hops, blocks=(6, 6), scaling="state"):
    """A path through A and B: hops as (model, block) or (model, block, scale)."""
    path = LayerPath(("a" * 64, "b" * 64), tuple(Hop(*hop) for hop in hops), scaling)
    return PathInfo(path, ("A", "B"), blocks)


def through(*blocks):
    return [(A, block) for block in blocks]


def drawn(info):
    """The hops and the cells that a chart is made of."""
    spec = path_chart(info, description="a path")
    values = [layer["data"]["values"] for layer in spec["layer"]]
    hops = next(each for each in values if "scale" in each[0])
    return hops, next(each for each in values if "times" in each[0]), spec


@pytest.mark.parametrize(
    ("hops", "words"),
    [
        (through(0, 1, 2, 3, 4, 5), "6 hops: all 6 blocks of A; all scales 1."),
        (
            [*through(0, 1), (B, 3), (B, 4, 0.93), (B, 5, 1.08), *through(5)],
            "6 hops: blocks 0, 1 and 5 of A, and blocks 3 to 5 of B; scales from 0.93 to 1.08.",
        ),
        (
            [*through(0, 1, 2), (B, 2), *through(4, 5)],
            "6 hops: all of A's blocks but 3, and block 2 of B; all scales 1.",
        ),
        (
            through(0, 1, 1, 2, 3, 4, 4, 4, 5),
            "9 hops: all 6 blocks of A; A's block 1 twice and A's block 4 3 times; all scales 1.",
        ),
        (
            through(0, 1, 2, 1, 2, 3, 0, 4, 5),
            "9 hops: all 6 blocks of A; A's block 0 twice, A's block 1 twice and A's block 2 twice; back twice; "
            "all scales 1.",
        ),
        ([(A, 0)], "1 hop: block 0 of A; all scales 1."),
        ([(A, 0, 0.95), (A, 5, 0.95)], "2 hops: blocks 0 and 5 of A; all scales 0.95."),
    ],
)
def test_a_path_is_told_in_one_sentence(hops, words):
    assert path_words(made(*hops)) == words


def test_what_would_make_a_long_list_is_counted():
    odd = made(*through(0, *range(1, 24, 2), *range(1, 24, 2)), blocks=(24, 24))
    assert path_words(odd) == (
        "25 hops: 13 of A's 24 blocks; 12 blocks more than once; back once; all scales 1."
    )


def test_a_model_of_one_block_has_all_of_it_on_the_path():
    assert path_words(made((A, 0), blocks=(1, 6))) == "1 hop: the only block of A; all scales 1."


def test_every_hop_and_every_block_is_in_the_picture():
    hops, cells, spec = drawn(made((A, 0), (B, 2, 1.1), (B, 2, 0.9), (A, 5), blocks=(6, 4)))
    assert [(row["hop"], row["model"], row["block"], row["label"]) for row in hops] == [
        (0, "A", 0, ""),
        (1, "B", 2, "1.10"),
        (2, "B", 2, "0.90"),
        (3, "A", 5, ""),
    ]
    assert {(row["model"], row["block"]): row["times"] for row in cells} == {
        **{("A", block): int(block in (0, 5)) for block in range(6)},
        **{("B", block): 2 * (block == 2) for block in range(4)},
    }
    columns = {row["model"]: row["hop"] for row in cells}
    assert 3 < columns["A"] < columns["B"]
    assert spec["description"] == "a path"


def test_marks_grow_with_their_scales():
    hops, _, _ = drawn(made((A, 0), (A, 1, 1.5), (A, 2, 0.5), (A, 3, 1.001), (A, 5)))
    weights = [row["weight"] for row in hops]
    assert weights[0] == weights[4] == 0
    assert weights[2] == -1 < weights[0] < weights[3] < 0.01 < weights[1] < 1
    near, _, _ = drawn(made((A, 0), (A, 1, 1.01), (A, 5)))
    assert 0 < near[1]["weight"] < 0.1


def test_a_scale_that_turns_the_sign_is_drawn_as_the_least():
    hops, _, _ = drawn(made((A, 0), (B, 1, -0.5), (A, 5), scaling="handed"))
    assert [row["weight"] for row in hops] == [0, -1, 0]
    assert hops[1]["label"] == "-0.50"


def test_of_very_many_hops_scales_are_not_written():
    few = drawn(made(*[(A, 0, 1.1)] * MOST_LABELS))[2]
    many = drawn(made(*[(A, 0, 1.1)] * (MOST_LABELS + 1)))[2]
    assert len(many["layer"]) == len(few["layer"]) - 1


def test_a_block_that_a_model_does_not_have_is_refused():
    with pytest.raises(ValueError, match="Hop 1 goes through block 4 of 'B', which has 4 blocks"):
        made((A, 0), (B, 4), (A, 5), blocks=(6, 4))
    with pytest.raises(ValueError, match="for each of 2 models, found 2 and 1"):
        made((A, 0), blocks=(6,))


def test_the_report_of_a_winner_that_is_a_path_has_its_section_in_the_place_of_shares(of_paths, tmp_path):
    run = of_paths()
    info = path_info(run_info(run))
    assert (info.names, info.blocks) == (("classes 0-4", "classes 5-9"), (4, 2))
    page = write_report(run, tmp_path / "r.html").read_text()
    assert 'id="path"' in page
    assert 'id="spec-path"' in page
    assert 'id="shares"' not in page
    assert "all of classes 0-4&#x27;s blocks but 1, and block 1 of classes 5-9" in page
    assert "the whole hidden state that enters the hop" in page


def test_a_model_that_is_no_parent_is_called_by_its_digest(of_paths):
    assert path_info(run_info(of_paths("f" * 64, "<b>" * 9))).names == ("ffffffff", "<b><b><b"[:8])


def test_a_path_of_a_newer_format_says_so(of_paths):
    with pytest.raises(ValueError, match="written by a newer release"):
        path_info(run_info(of_paths(version=2)))


def test_other_runs_and_unfinished_ones_have_no_such_section(combination, edited, unfinished, tmp_path):
    assert path_info(run_info(unfinished)) is None
    assert path_info(run_info(combination)) is None
    null = edited("UPDATE results SET value = json_set(value, '$.path', NULL) WHERE key = 'outcome'")
    assert path_info(run_info(null)) is None
    page = write_report(null, tmp_path / "r.html").read_text()
    assert 'id="path"' not in page
    assert 'id="shares"' in page
