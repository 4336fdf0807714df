"""Numerical derivatives of measured problems, component by component, against automatic ones."""

from __future__ import annotations

import numpy as np
import pytest

from zrun_tf.cli._fit import make_objective
from zrun_tf.cli._nist import SHIPPED, load
from zrun_tf.gradients._numeric import numeric_jacobian


@pytest.mark.parametrize("name", SHIPPED)
def test_each_component_is_right_or_says_that_it_is_not(name):
    # One component in a thousand used to be off by a percent and to say 0.1 %: good ones were replaced together with
    # a neighbour that needed other steps.
    problem = load(name)
    objective, x = make_objective(problem), np.array(problem.certified)
    exact = objective.jacobian(x)
    found = numeric_jacobian(lambda points: np.stack([objective.value(point) for point in points]), x)
    off = np.abs(found.jacobian - exact)
    assert np.all((off <= 1e-8 * np.abs(exact).max(axis=0)) | (off <= 2 * found.error))
    assert np.mean(off <= 1e-8 * np.abs(exact).max(axis=0)) > 0.95
