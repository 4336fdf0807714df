"""Where the rows of a chunked sum come from: files, datasets, iterators, Parquet; and what they leave behind."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import tensorflow as tf

import zrun_tf as zrun
from zrun_core.errors import ChunkError
from zrun_tf._chunked_buffers import empty, first_shared_row, is_mapped, to_tensor
from zrun_tf._chunked_rows import ArraySource, take_apart
from zrun_tf._chunked_streams import source_of

pytestmark = pytest.mark.any_policy

RUN = zrun.run
X = np.random.default_rng(3).normal(size=(1003, 2))
WANT = float(np.sum(X[:, 0] * X[:, 1]))


def product(x, y):
    return x * y


def columns(c):
    return c["x"] * c["y"]


def rows_of_two(x):
    return x[:, 0] * x[:, 1]


@pytest.fixture
def mapped(tmp_path):
    np.save(tmp_path / "x.npy", X)
    return np.load(tmp_path / "x.npy", mmap_mode="r")


@pytest.mark.parametrize("graph", [True, False])
def test_a_mapped_file(mapped, graph):
    assert is_mapped(mapped)
    with RUN.using(graph=graph):
        assert float(zrun.chunked_sum(rows_of_two, mapped, chunksize=100)) == pytest.approx(WANT, rel=1e-12)
        # Columns of it are views whose rows are not contiguous.
        assert float(zrun.chunked_sum(product, (mapped[:, 0], mapped[:, 1]))) == pytest.approx(WANT, rel=1e-12)


def test_changes_in_a_copy_on_write_map_survive(tmp_path):
    np.save(tmp_path / "x.npy", X)
    data = np.load(tmp_path / "x.npy", mmap_mode="c")
    data[:] = 1.0
    for _ in range(2):
        assert float(zrun.chunked_sum(rows_of_two, data, chunksize=100)) == len(X)
    assert np.all(data == 1.0)


def test_changes_in_a_shared_map_reach_the_file(tmp_path):
    np.save(tmp_path / "x.npy", X)
    data = np.load(tmp_path / "x.npy", mmap_mode="r+")
    data[:] = 2.0
    assert float(zrun.chunked_sum(rows_of_two, data, chunksize=100)) == 4 * len(X)
    data.flush()
    assert np.all(np.load(tmp_path / "x.npy") == 2.0)


@pytest.mark.parametrize("graph", [True, False])
@pytest.mark.parametrize("batch", [1, 64, 100, 5000, None])
def test_a_dataset(graph, batch):
    dataset = tf.data.Dataset.from_tensor_slices((X[:, 0], X[:, 1]))
    if batch is not None:
        dataset = dataset.batch(batch)
    with RUN.using(graph=graph):
        for _ in range(2):
            assert float(zrun.chunked_sum(product, dataset, chunksize=100)) == pytest.approx(WANT, rel=1e-12)


STREAMS = {
    "generator": lambda: (batch for batch in np.array_split(X, 9)),
    "function": lambda: lambda: iter(np.array_split(X, 9)),
    "iterable": lambda: {"batches": np.array_split(X, 9)}["batches"].__iter__(),
    "tensors": lambda: iter([tf.constant(X[:500]), tf.constant(X[500:])]),
    "batches without rows": lambda: iter([X[:0], X[:10], X[:0], X[10:], X[:0]]),
}


@pytest.mark.parametrize("graph", [True, False])
@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("chunksize", [1, 10, 112, 2000, "auto"])
def test_batches(kind, chunksize, graph):
    if chunksize == 1 and not graph:
        chunksize = 50
    with RUN.using(graph=graph):
        total = zrun.chunked_sum(rows_of_two, STREAMS[kind](), chunksize=chunksize)
    assert float(total) == pytest.approx(WANT, rel=1e-12)


def test_the_gradient_of_an_iterator_is_computed_with_the_value():
    mu = tf.Variable(0.5, dtype=tf.float64)
    with tf.GradientTape() as tape:
        total = zrun.chunked_sum(lambda x: (x - mu) ** 2, iter(np.array_split(X[:, 0], 5)))
    assert float(tape.gradient(total, mu)) == pytest.approx(np.sum(1 - 2 * X[:, 0]), rel=1e-12)


def test_an_iterator_cannot_be_read_twice():
    mu = tf.constant(0.5, tf.float64)
    batches = iter(np.array_split(X[:, 0], 5))
    with pytest.raises(ChunkError, match="a function that returns a new iterator"):
        zrun.hessian(lambda m: zrun.chunked_sum(lambda x, m: (x - m) ** 2, batches, m), mu)


@pytest.mark.parametrize("jit", [False, True])
def test_the_second_derivative_of_batches(jit):
    mu = tf.constant(0.5, tf.float64)
    with RUN.using(jit=jit):
        found = zrun.hessian(
            lambda m: zrun.chunked_sum(_quartic, lambda: iter(np.array_split(X[:, 0], 5)), m, chunksize=100), mu
        )
    assert float(np.squeeze(found)) == pytest.approx(np.sum(12 * (X[:, 0] - 0.5) ** 2), rel=1e-12)


def _quartic(x, m):
    return (x - m) ** 4


@pytest.mark.parametrize("kind", ["mapped", "dataset", "function"])
def test_rows_that_a_graph_reads_while_it_runs(mapped, kind):
    data = {
        "mapped": mapped,
        "dataset": tf.data.Dataset.from_tensor_slices(X).batch(64),
        "function": lambda: iter(np.array_split(X, 9)),
    }[kind]

    @zrun.function
    def loss(scale):
        return zrun.value_and_gradient(
            lambda s: zrun.chunked_sum(lambda x, s: tf.exp(s) * rows_of_two(x), data, s, chunksize=100), scale
        )

    for scale in (0.0, 1.0):
        value, gradient = loss(tf.constant(scale, tf.float64))
        assert float(value) == pytest.approx(np.exp(scale) * WANT, rel=1e-12)
        assert float(gradient) == pytest.approx(np.exp(scale) * WANT, rel=1e-12)


@pytest.mark.needs_graph
def test_a_graph_refuses_an_iterator():
    @zrun.function
    def loss(a):
        return zrun.chunked_sum(lambda x, a: a * x, iter([X[:, 0]]), a)

    with pytest.raises(ChunkError, match="a graph reads the data each time"):
        loss(tf.constant(1.0, tf.float64))


def test_large_arrays_do_not_become_part_of_a_graph():
    data = np.zeros(1_000_000)

    @tf.function
    def loss(a):
        return zrun.chunked_sum(lambda x, a: a * x, data, a)

    concrete = loss.get_concrete_function(tf.TensorSpec([], tf.float64))
    assert concrete.graph.as_graph_def().ByteSize() < 200_000


def test_an_array_may_change_between_calls_and_is_never_written_to():
    data = np.ones(200_000)
    before = data.copy()
    for _ in range(2):
        assert float(zrun.chunked_sum(lambda x: -x, data)) == -len(data)
        assert np.array_equal(data, before)
    data[:] = before[:] = 3.0
    assert float(zrun.chunked_sum(_identity, data)) == 3 * len(data)
    doubled = zrun.chunked_map(_identity, data)
    data[:] = 0.0
    assert np.all(doubled.numpy() == 3.0)


def _identity(x):
    return x


def test_nothing_keeps_the_data_alive():
    class Array(np.ndarray):
        pass

    data = np.ones(100_000).view(Array)
    gone = weakref.ref(data)
    zrun.chunked_sum(_identity, data)
    del data
    gc.collect()
    assert gone() is None


# -- memory that is shared -------------------------------------------------------------------------------------------


def test_memory_is_shared_where_tensorflow_can_take_it():
    rows = empty(100, np.zeros((0, 3)))
    assert rows.ctypes.data % 64 == 0
    rows[:] = 1.0
    tensor = to_tensor(rows, share=True)
    rows[0, 0] = 5.0
    assert float(tensor[0, 0]) == 5.0
    rows[0, 0] = 1.0
    copy = to_tensor(rows, share=False)
    rows[0, 0] = 5.0
    assert float(copy[0, 0]) == 1.0


@pytest.mark.parametrize(
    "array",
    [
        empty(100, np.zeros(0))[1:],
        empty(100, np.zeros(0))[::2],
        np.broadcast_to(1.0, (100,)),
        np.ones(100, ">f8"),
        np.ones(100, bool),
        np.ones((0, 3)),
        np.ones(100, complex),
    ],
)
def test_other_memory_is_copied(array):
    array = np.asarray(array)
    tensor = to_tensor(array, share=True)
    np.testing.assert_array_equal(tensor.numpy(), array)


def test_arrays_are_cut_where_their_memory_can_be_shared():
    raw = empty(1000, np.zeros(0))
    data = raw[3:]
    first = first_shared_row([data])
    assert first == 5
    source = ArraySource(*take_apart(data))
    sizes = [len(chunk[0]) for chunk in source.chunks(64, share=True)]
    assert sum(sizes) == len(data)
    assert sizes[:2] == [5, 64]
    assert [len(chunk[0]) for chunk in source.chunks(500, share=False)] == [500, 497]


def test_tensors_are_cut_once():
    source = source_of(tf.constant(X))
    first = list(source.chunks(64, share=True))
    assert [a[0] is b[0] for a, b in zip(first, source.chunks(64, share=True), strict=True)] == [True] * 16


# -- Parquet ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def table():
    pa = pytest.importorskip("pyarrow")
    return pa.table({"x": X[:, 0], "y": X[:, 1], "name": ["a"] * len(X)})


@pytest.fixture
def path(table, tmp_path):
    import pyarrow.parquet as pq

    pq.write_table(table, tmp_path / "x.parquet", row_group_size=100)
    return tmp_path / "x.parquet"


@pytest.mark.parametrize("graph", [True, False])
@pytest.mark.parametrize("kind", ["path", "text", "file", "dataset", "scanner", "table"])
def test_parquet(path, table, kind, graph):
    import pyarrow.dataset as ds
    import pyarrow.parquet as pq

    data = {
        "path": lambda: path,
        "text": lambda: str(path),
        "file": lambda: pq.ParquetFile(path),
        "dataset": lambda: ds.dataset(path),
        "scanner": lambda: ds.dataset(path).scanner(columns=["y", "x"]),
        "table": lambda: table,
    }[kind]()
    with RUN.using(graph=graph):
        for _ in range(2):
            assert float(zrun.chunked_sum(columns, data, chunksize=77)) == pytest.approx(WANT, rel=1e-12)


def test_parquet_errors(path, table, tmp_path):
    pa, ds = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.dataset")
    with pytest.raises(ChunkError, match="name: string"):
        zrun.chunked_sum(columns, table.select(["name"]))
    with pytest.raises(ChunkError, match="columns of numbers or bools only"):
        zrun.chunked_sum(columns, ds.dataset(path).scanner())
    with pytest.raises(ChunkError, match="'x' has 1 nulls"):
        zrun.chunked_sum(columns, pa.table({"x": [1.0, None], "y": [1.0, 2.0]}))
    with pytest.raises(ChunkError, match="can be read again"):
        zrun.chunked_sum(columns, table.to_reader())
    with pytest.raises(FileNotFoundError):
        zrun.chunked_sum(columns, tmp_path / "none.parquet")


def test_parquet_lists_are_columns_of_an_array(table):
    pa = pytest.importorskip("pyarrow")
    pairs = pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), 2)
    data = pa.table({"pair": pairs})
    total = zrun.chunked_sum(lambda c: rows_of_two(c["pair"]), data, chunksize=100)
    assert float(total) == pytest.approx(WANT, rel=1e-12)


def test_without_pyarrow_the_error_says_what_to_install(monkeypatch, tmp_path):
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ImportError, match=r"zrun-tf\[parquet\]"):
        zrun.chunked_sum(columns, tmp_path / "x.parquet")


@pytest.mark.parametrize("form", ["array", "dict", "weights", "batches"])
def test_a_mask_is_refused_because_it_would_be_ignored(form):
    masked = np.ma.masked_array([1.0, 2.0, 3.0], [False, True, False])
    data, weights = {
        "array": (masked, None),
        "dict": ({"x": masked}, None),
        "weights": (np.ones(3), masked),
        "batches": (lambda: iter([masked]), None),
    }[form]
    with pytest.raises(ValueError, match="is a masked array with 1 masked values"):
        zrun.chunked_sum(lambda x: x["x"] if form == "dict" else x, data, weights=weights)
