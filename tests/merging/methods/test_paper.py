"""Every method, with every choice, against the slow reference written from its equations."""

import numpy as np
import torch
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from merganser.merging import METHODS
from merganser.merging.methods import bind

TOLERANCE = {torch.float64: 1e-9, torch.float32: 2e-6}


def agree(merged, expected):
    for name, values in expected.items():
        scale = max(1.0, float(np.abs(values).max(initial=0.0)))
        found = merged[name]
        assert tuple(found.shape) == values.shape
        np.testing.assert_allclose(
            found.double().numpy(), values, rtol=0, atol=TOLERANCE[found.dtype] * scale, err_msg=name
        )


@settings(max_examples=8)
@given(data=st.data())
def test_models_merge_as_the_equations_say(case, data, run, expected, draw_models, draw_numbers):
    models, base = draw_models(data.draw, case)
    parameters = {**case.parameters, **draw_numbers(data.draw, case, len(models))}
    try:
        bind(case.method, METHODS[case.method], len(models), parameters)
        values = expected(case.method, models, base, **parameters)
    except ValueError:
        reject()
    agree(run(case.method, models, base, **parameters), values)
