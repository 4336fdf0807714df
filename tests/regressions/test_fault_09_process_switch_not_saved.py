"""Fault 9: a process-wide switch that was not saved."""

from __future__ import annotations

import pytest
import tensorflow as tf

import zrun_tf as zrun


@pytest.mark.parametrize("leave", ["set_mode", "exception"])
def test_run_functions_eagerly_of_the_user_survives(leave):
    # This used to be False after a block without graphs, whatever the user had set.
    tf.config.run_functions_eagerly(True)
    try:
        if leave == "set_mode":
            zrun.run.set_mode(graph=False)
            zrun.run.set_mode_default()
        else:
            with pytest.raises(KeyError), zrun.run.using(graph=False, tensorflow=True):
                raise KeyError
        assert tf.config.functions_run_eagerly() is True
    finally:
        tf.config.run_functions_eagerly(False)
