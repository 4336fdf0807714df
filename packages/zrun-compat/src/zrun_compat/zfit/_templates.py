"""What zfit's functions do instead, with their arguments. Their code runs with the globals of zfit's modules."""

# The arguments are those of zfit's functions.
# mypy: disable-error-code="no-untyped-def"
# ruff: noqa: ANN001, ANN002, ANN003, ANN202

from __future__ import annotations


def outer(FunctionCacheHolder, cache, deleted_cachers, func, keepalive, self, wrapped_func):  # noqa: N803
    def concrete_func(*args, **kwargs):
        # The free variables have to be those of the function whose code this is exchanged for.
        nonlocal FunctionCacheHolder, cache, deleted_cachers, func, keepalive, self, wrapped_func
        return self._call_on_zrun(func, args, kwargs)

    return concrete_func


def numerical_gradient(func, params):
    from zrun_compat.zfit._derivatives import numerical_gradient as on_zrun

    return on_zrun(func, params)


def numerical_hessian(func, params, hessian=None):
    from zrun_compat.zfit._derivatives import numerical_hessian as on_zrun

    return on_zrun(func, params, hessian=hessian)


def autodiff_gradient(func, params):
    from zrun_compat.zfit._derivatives import by_policy
    from zrun_compat.zfit._derivatives import numerical_gradient as numerical

    return by_policy("autodiff_gradient", numerical, func, params)


def autodiff_value_gradient(func, params):
    from zrun_compat.zfit._derivatives import by_policy

    return by_policy("autodiff_value_gradient", numerical_value_gradient, func, params)  # type: ignore[name-defined]  # noqa: F821


def autodiff_hessian(func, params, hessian=None):
    from zrun_compat.zfit._derivatives import by_policy
    from zrun_compat.zfit._derivatives import numerical_hessian as numerical

    return by_policy("autodiff_hessian", numerical, func, params, hessian=hessian)


def automatic_value_gradient_hessian(func=None, params=None, value_grad_func=None, hessian=None):
    from zrun_compat.zfit._derivatives import by_policy

    name, numerical = "automatic_value_gradient_hessian", numerical_value_gradient_hessian  # type: ignore[name-defined]  # noqa: F821
    if func is None:
        from zrun_compat.zfit._released import released

        return released(name)(func, params, value_grad_func=value_grad_func, hessian=hessian)
    more = {"hessian": hessian} if value_grad_func is None else {"hessian": hessian, "value_grad_func": value_grad_func}
    return by_policy(name, lambda f, p, hessian, **_: numerical(f, p, hessian=hessian), func, params, **more)


def clear_graph_cache(*, call_gc=None):
    from zrun_compat.zfit._install import clear_caches

    clear_caches(release_memory=bool(call_gc))
