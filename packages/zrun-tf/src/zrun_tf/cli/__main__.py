"""`python -m zrun_tf.cli`, for where the `zrun` script is not on the path."""

from __future__ import annotations

from . import main

main()
