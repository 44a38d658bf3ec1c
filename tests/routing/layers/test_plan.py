"""Levels, experts at each block, counts of parameters."""

import pytest

from merganser.routing.layers import LayerRouting

GPT2 = {"blocks": 12, "width": 768}


@pytest.mark.parametrize(
    ("routing", "models", "expected"),
    [
        (LayerRouting("static"), 2, 1),
        (LayerRouting("single"), 2, 1_536),
        (LayerRouting("layers"), 2, 18_432),
        (LayerRouting("layers"), 3, 27_648),
        (LayerRouting("cross-depth", reach=2), 2, 36_864),
        (LayerRouting("cross-depth", reach=3), 2, 55_296),
        (LayerRouting("cross-depth", reach=4), 2, 73_728),
    ],
)
def test_routers_have_as_many_parameters_as_the_papers_on_gpt2(routing, models, expected):
    assert routing.parameters(models=models, **GPT2) == expected


@pytest.mark.parametrize(
    ("reach", "expected"),
    [
        (1, [(0,), (1,), (2,), (3,)]),
        (2, [(0, 1), (1, 2), (2, 3), (3, 2)]),
        (3, [(0, 1, 2), (1, 2, 3), (2, 3, 1), (3, 2, 1)]),
        (4, [(0, 1, 2, 3), (1, 2, 3, 0), (2, 3, 1, 0), (3, 2, 1, 0)]),
    ],
)
def test_depths_go_up_and_at_the_top_the_remainder_goes_down(reach, expected):
    routing = LayerRouting("layers") if reach == 1 else LayerRouting("cross-depth", reach=reach)
    assert list(routing.depths(4)) == expected


def test_a_reach_beyond_the_blocks_is_refused():
    with pytest.raises(ValueError, match="reach of 4 needs as many blocks, but there are 3"):
        LayerRouting("cross-depth", reach=4).depths(3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"level": "deep"}, "Expected a level of static, single, layers, cross-depth, found 'deep'"),
        ({"level": "cross-depth"}, "at least 2 depths"),
        ({"level": "layers", "reach": 2}, "Only `cross-depth` has a reach"),
        ({"level": "layers", "own_bias": 4.0}, "Only `cross-depth` has a use for `own_bias`"),
        ({"level": "static", "top_k": 1}, "with routers, found 1 for 'static'"),
        ({"top_k": 0}, "`top_k` of at least 1"),
        ({"mlps": "blocks.mlp"}, r"with one `\*`"),
    ],
)
def test_parts_that_do_not_fit_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        LayerRouting(**given)


def test_a_routing_comes_back_from_json():
    routing = LayerRouting("cross-depth", reach=3, top_k=2, mlps="blocks.*.mlp", own_bias=4.0)
    assert LayerRouting.from_json(routing.to_json()) == routing
    with pytest.raises(ValueError, match="no routing of layers"):
        LayerRouting.from_json({"depth": 3})
