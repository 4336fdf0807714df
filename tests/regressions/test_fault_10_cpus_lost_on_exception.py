"""Fault 10: a lease without `finally`."""

from __future__ import annotations

import pytest

from zrun_core._leases import CpuPool


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_exception_in_the_block_gives_every_cpu_back(error):
    # An exception while 3 of 5 CPUs were leased used to leave 2 for ever.
    pool = CpuPool(5)
    with pytest.raises(error), pool.acquire(3):
        raise error
    assert (pool.n_cpu, pool.available) == (5, 5)
    with pool.acquire() as cpus:
        assert cpus == 5


@pytest.mark.parametrize("max_cpu", [None, 1.5, "all", 0])
def test_a_wrong_number_is_an_error_of_its_own(max_cpu):
    # Anything but an int used to end in "generator didn't yield".
    pool = CpuPool(5)
    with pytest.raises((TypeError, ValueError), match="max_cpu must"):
        pool.acquire(max_cpu)
    assert pool.available == 5
