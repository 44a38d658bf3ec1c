"""Every method, with every choice, against the slow reference written from its equations."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st

from merganser.merging import METHODS
from merganser.merging.methods import bind

def agree(merged, expected, tolerance):
    for name, values in expected.items():
        scale = max(1.0, float(np.abs(values).max(initial=0.0)))
        found = merged[name].double().numpy()
        assert found.shape == values.shape
        np.testing.assert_allclose(found, values, rtol=0, atol=tolerance * scale, err_msg=name)


@settings(max_examples=20)
@given(data=st.data())
def test_double_precision_models_merge_as_the_equations_say(case, data, run, expected, draw_models, draw_numbers):
    models, base = draw_models(data.draw, case)
    parameters = {**case.parameters, **draw_numbers(data.draw, case, len(models))}
    try:
        bind(case.method, METHODS[case.method], len(models), parameters)
    except ValueError:
        reject()
    agree(run(case.method, models, base, **parameters), expected(case.method, models, base, **parameters), 1e-9)
