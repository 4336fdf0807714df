"""Derivatives: automatic or numerical, as the policy says when they are asked for."""

from __future__ import annotations

from ._api import gradient, jacobian, value_and_gradient
from ._api_second import hessian, hessian_vector_product, value_gradient_hessian
from ._check import assert_gradient, check_gradient
from ._check_report import GradientCheck

__all__ = [
    "GradientCheck",
    "assert_gradient",
    "check_gradient",
    "gradient",
    "hessian",
    "hessian_vector_product",
    "jacobian",
    "value_and_gradient",
    "value_gradient_hessian",
]
