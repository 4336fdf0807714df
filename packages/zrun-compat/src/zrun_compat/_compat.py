"""What differs between the versions of Python that are supported, each with the version that ends it."""

from __future__ import annotations

# What enters a `with` block.
# SETUP_WITH until Python 3.10 is dropped.
ENTERING = frozenset({"SETUP_WITH", "BEFORE_WITH"})

# A statement ends in POP_TOP; the others are how an interactive session shows the value of one.
# PRINT_EXPR until Python 3.11 is dropped.
DISCARDING = frozenset({"POP_TOP", "PRINT_EXPR", "CALL_INTRINSIC_1"})
