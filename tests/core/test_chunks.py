"""Plans of chunks: every row once, in order, within the memory that may be used."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zrun_core import _chunks
from zrun_core._chunks import ChunkPlan, check_aligned, plan_chunks
from zrun_core._memory import AvailableMemory
from zrun_core.errors import ChunkError, ZrunError

n_rows = st.integers(0, 2000)
sizes = st.integers(1, 2500)


@pytest.fixture
def free(monkeypatch):
    """A function that sets the bytes that are free."""

    def become(n):
        memory = AvailableMemory(n, "unknown" if n is None else "machine", n)
        monkeypatch.setattr(_chunks, "available_memory", lambda: memory)

    return become


def assert_covers(plan, n):
    """Every row once, in order: the rows of all slices, one after the other, are all rows."""
    slices = list(plan)
    assert [row for chunk in slices for row in range(n)[chunk]] == list(range(n))
    assert all(chunk.step is None and 0 <= chunk.start < chunk.stop <= n for chunk in slices)
    lengths = [chunk.stop - chunk.start for chunk in slices]
    assert all(length == plan.chunksize for length in lengths[:-1])
    assert plan.remainder == (lengths[-1] if lengths and lengths[-1] < plan.chunksize else 0)


@given(n_rows, sizes)
def test_chunks_of_a_given_size_cover_every_row_once_in_order(n, size):
    plan = plan_chunks(n, chunksize=size)
    assert_covers(plan, n)
    assert (plan.n_rows, plan.chunksize) == (n, size)


@given(n_rows, st.integers(1, 10**6), st.integers(1, 10**6), st.integers(1, 9))
def test_automatic_chunks_cover_every_row_once_and_stay_in_the_budget(n, row, budget, n_workers):
    if budget < row * n_workers:
        with pytest.raises(ChunkError, match=r"^memory_budget must hold one row for each worker"):
            plan_chunks(n, bytes_per_row=row, memory_budget=budget, n_workers=n_workers)
        return
    plan = plan_chunks(n, bytes_per_row=row, memory_budget=budget, n_workers=n_workers)
    assert_covers(plan, n)
    assert plan.chunksize * row * n_workers <= budget
    # Rows are spread evenly: with one row less per chunk there would be more chunks, or no rows at all.
    assert n == 0 or plan.chunksize == 1 or -(-n // (plan.chunksize - 1)) > len(plan)


@given(n_rows, sizes)
def test_a_plan_is_the_sequence_of_its_slices(n, size):
    plan = ChunkPlan(n, size)
    slices = list(plan)
    assert len(plan) == len(slices)
    assert [plan[i] for i in range(len(plan))] == slices
    assert [plan[i] for i in range(-len(plan), 0)] == slices
    assert list(reversed(plan)) == slices[::-1]
    assert plan[:] == tuple(slices)
    assert plan[1:-1:2] == tuple(slices[1:-1:2])
    for index in (len(plan), -len(plan) - 1):
        with pytest.raises(IndexError):
            plan[index]
    assert all(chunk in plan for chunk in slices[:3])
    assert slice(n, n + 1) not in plan


def test_a_plan_is_a_value():
    plan = plan_chunks(10, chunksize=4)
    assert isinstance(plan, Sequence)
    assert plan == ChunkPlan(10, 4, "another reason")
    assert hash(plan) == hash(ChunkPlan(10, 4))
    assert plan != ChunkPlan(10, 5)
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan.chunksize = 5


def test_a_plan_of_very_many_chunks_makes_its_slices_when_asked():
    plan = plan_chunks(10**15, chunksize=1)
    assert len(plan) == 10**15
    assert plan[-1] == slice(10**15 - 1, 10**15)
    assert next(iter(plan)) == slice(0, 1)


# -- each kind of chunk size ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 7, 10**9])
def test_none_is_one_piece(n):
    plan = plan_chunks(n, chunksize=None)
    assert list(plan) == [slice(0, n)]
    assert plan.remainder == 0


@pytest.mark.parametrize("chunksize", [None, 1, 1000, "auto"])
def test_no_rows_are_no_chunks(chunksize):
    plan = plan_chunks(0, chunksize=chunksize)
    assert (list(plan), len(plan), plan.remainder, plan.n_rows) == ([], 0, 0, 0)
    assert plan.chunksize >= 1


@pytest.mark.parametrize(
    ("n", "row", "budget", "n_workers", "chunks", "chunksize"),
    [
        # The budget decides.
        (1_000_000, 8, 8_000_000, 1, 1, 1_000_000),
        (1_000_001, 8, 8_000_000, 1, 2, 500_001),
        (1_000_000, 8, 8_000_000, 2, 2, 500_000),
        (10, 100, 100, 1, 10, 1),
        (10, 100, 399, 1, 4, 3),
        # The cap of 8 MiB per chunk decides, however much memory there is.
        (1 << 21, 8, 10**12, 1, 2, 1 << 20),
        (1 << 21, 8, 10**12, 4, 4, 1 << 19),
        (100, 10**8, 10**12, 1, 100, 1),
        # The workers decide, unless there are hardly any rows.
        (4096, 8, 10**12, 4, 4, 1024),
        (4095, 8, 10**12, 4, 1, 4095),
    ],
)
def test_auto_takes_the_least_of_budget_and_cache_and_spreads_the_rows(n, row, budget, n_workers, chunks, chunksize):
    plan = plan_chunks(n, bytes_per_row=row, memory_budget=budget, n_workers=n_workers)
    assert (len(plan), plan.chunksize) == (chunks, chunksize)


@given(st.integers(0, 10**7), st.integers(1, 64))
def test_auto_has_a_chunk_for_each_worker_or_few_rows(n, n_workers):
    plan = plan_chunks(n, memory_budget=10**12, n_workers=n_workers)
    assert len(plan) >= n_workers or n < n_workers * 1024


@pytest.mark.parametrize(
    ("n_free", "chunksize", "text"),
    [
        (40_000, 10, "100 rows in 10 chunks of 10 rows: 1 kB per row in 10 kB (a quarter of 40 kB that are free)."),
        (3999, 1, "100 rows in 100 chunks of 1 row: 1 kB per row in 999 B (a quarter of 4 kB that are free)."),
        (0, 1, "100 rows in 100 chunks of 1 row: 1 kB per row in 0 B (a quarter of 0 B that are free)."),
        (10**12, 100, "100 rows in one piece: 1 kB per row, about 8 MB at a time."),
        (None, 100, "100 rows in one piece: 1 kB per row, about 8 MB at a time."),
    ],
)
def test_without_a_budget_a_quarter_of_the_free_memory_is_used(n_free, chunksize, text, free):
    # A machine that is full still gets a plan, of single rows: only a budget that somebody gave is a promise.
    free(n_free)
    plan = plan_chunks(100, bytes_per_row=1000)
    assert plan.chunksize == chunksize
    assert plan.explain() == text


def test_where_the_free_memory_is_unknown_an_amount_is_assumed_and_said(free):
    free(None)
    assert plan_chunks(9, bytes_per_row=4 * 10**6, n_workers=100).explain() == (
        "9 rows in 9 chunks of 1 row: 4 MB per row in 268 MB (a quarter of an assumed 1.07 GB) for 100 workers."
    )


# -- words ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"n_rows": 0, "chunksize": 4}, "No rows, so no chunks: chunksize=4 was given."),
        ({"n_rows": 1, "chunksize": 4}, "1 row in one piece: chunksize=4 was given."),
        ({"n_rows": 9, "chunksize": None}, "9 rows in one piece: chunksize=None was given."),
        ({"n_rows": 8, "chunksize": 4}, "8 rows in 2 chunks of 4 rows: chunksize=4 was given."),
        ({"n_rows": 9, "chunksize": 4}, "9 rows in 3 chunks of 4 rows, the last one of 1: chunksize=4 was given."),
        (
            {"n_rows": 100, "memory_budget": 640},
            "100 rows in 10 chunks of 10 rows: 64 B per row (assumed) in the budget of 640 B.",
        ),
        (
            {"n_rows": 100, "bytes_per_row": 8, "memory_budget": 640, "n_workers": 4},
            "100 rows in 5 chunks of 20 rows: 8 B per row in the budget of 640 B for 4 workers.",
        ),
        ({"n_rows": 2, "bytes_per_row": 10**7}, "2 rows in 2 chunks of 1 row: 10 MB per row, one row at a time."),
        (
            {"n_rows": 8192, "bytes_per_row": 8, "memory_budget": 10**9, "n_workers": 4},
            "8192 rows in 4 chunks of 2048 rows: one chunk for each of 4 workers.",
        ),
    ],
)
def test_a_plan_explains_itself(arguments, text):
    assert plan_chunks(**arguments).explain() == text


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n_rows": -1}, ChunkError, r"^n_rows must be an integer of at least 0; got -1\. Give the length"),
        ({"n_rows": 2.0}, TypeError, r"^n_rows must be an integer; got 2\.0 of type float\. Give the length"),
        ({"n_rows": None}, TypeError, r"^n_rows must be an integer; got None"),
        ({"n_rows": True}, TypeError, r"^n_rows must be an integer; got True of type bool"),
        ({"chunksize": 0}, ChunkError, r"^chunksize must be an integer of at least 1; got 0\. Use a number of rows"),
        ({"chunksize": -5}, ChunkError, r"got -5\. Use a number of rows, 'auto', or None for everything in one piece"),
        ({"chunksize": 1e5}, TypeError, r"^chunksize must be an integer; got 100000\.0 of type float\. Use"),
        ({"chunksize": "all"}, ChunkError, r"^chunksize must be a number of rows, 'auto' or None; got 'all'\. Use"),
        ({"chunksize": False}, TypeError, r"^chunksize must be an integer; got False of type bool"),
        ({"bytes_per_row": 0}, ChunkError, r"^bytes_per_row must be .* at least 1; got 0\. Give the bytes that one"),
        ({"bytes_per_row": "8"}, TypeError, r"^bytes_per_row must be an integer; got '8' of type str"),
        ({"memory_budget": 0}, ChunkError, r"^memory_budget must be .* at least 1; got 0\. Give bytes"),
        ({"memory_budget": 2e9}, TypeError, r"^memory_budget must be an integer; got 2000000000\.0 .*2 \* 10\*\*9"),
        ({"n_workers": 0}, ChunkError, r"^n_workers must be an integer of at least 1; got 0\. Give how many chunks"),
        ({"n_workers": "2"}, TypeError, r"^n_workers must be an integer; got '2' of type str"),
        (
            {"bytes_per_row": 1000, "memory_budget": 3999, "n_workers": 4},
            ChunkError,
            r"^memory_budget must hold one row for each worker: 1 kB per row, 4 at a time; got 4 kB\. Raise memory_bu",
        ),
    ],
)
def test_a_bad_argument_is_refused_with_name_rule_value_and_next_step(arguments, error, message):
    with pytest.raises(error, match=message):
        plan_chunks(**{"n_rows": 10, **arguments})


@pytest.mark.parametrize("arguments", [(-1, 1), (1, 0), (1.5, 1), (1, None)])
def test_a_plan_that_makes_no_sense_cannot_be_made(arguments):
    with pytest.raises((ChunkError, TypeError), match=r"^(n_rows|chunksize) must be an integer"):
        ChunkPlan(*arguments)


def test_a_chunk_error_is_a_value_error_too():
    assert issubclass(ChunkError, (ZrunError, ValueError))


# -- several arrays -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lengths", [{"data": 100}, {"data": 100, "weights": 100, "labels": 100}, {"data": 0}])
def test_arrays_of_one_length_are_accepted(lengths):
    assert check_aligned(lengths) == lengths["data"]


@pytest.mark.parametrize(
    ("lengths", "got"),
    [
        ({"data": 100, "weights": 99}, r"got 100 \(data\) and 99 \(weights\)\. Cut them"),
        ({"data": 3, "w": 3, "x": 4}, r"got 3 \(data, w\) and 4 \(x\)\. Cut them"),
        ({"a": 1, "b": 2, "c": 3}, r"got 1 \(a\), 2 \(b\) and 3 \(c\)\. Cut them"),
        ({"data": 0, "weights": 1}, r"got 0 \(data\) and 1 \(weights\)\. Cut them"),
    ],
)
def test_arrays_of_different_lengths_are_named(lengths, got):
    with pytest.raises(ChunkError, match=rf"^All arrays must have the same number of rows; {got}"):
        check_aligned(lengths)


def test_no_array_at_all_is_refused():
    with pytest.raises(ChunkError, match=r"At least one array is needed.*got none"):
        check_aligned({})


@pytest.mark.parametrize(("length", "error"), [(-1, ChunkError), (None, TypeError), (1.0, TypeError)])
def test_a_length_that_is_none_names_its_array(length, error):
    with pytest.raises(error, match=r"^The number of rows of weights must be an integer.*Give the length"):
        check_aligned({"data": 1, "weights": length})
