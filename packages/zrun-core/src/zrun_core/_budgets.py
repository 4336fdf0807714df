"""Checks of what may be set for a cache."""

from __future__ import annotations

from math import inf


def check_count(name: str, value: object) -> None:
    """Raise unless a budget is a positive whole number or None.

    Args:
        name: of the argument.
        value: what was given.

    Raises:
        ValueError: it is neither.
    """
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ValueError(f"{name} must be a positive whole number, or None for no limit; got {value!r}.")


def check_budgets(max_entries: object, max_bytes: object, max_age: object) -> None:
    """Raise unless these are budgets.

    Args:
        max_entries: for entries.
        max_bytes: for bytes.
        max_age: in seconds.

    Raises:
        ValueError: one is not positive.
    """
    check_count("max_entries", max_entries)
    check_count("max_bytes", max_bytes)
    if max_age is not None and (
        isinstance(max_age, bool) or not isinstance(max_age, (int, float)) or not 0 < max_age < inf
    ):
        raise ValueError(f"max_age must be a positive number of seconds, or None for no limit; got {max_age!r}.")
