"""Parquet and Arrow data as batches of columns; pyarrow is an extra."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from zrun_core.errors import ChunkError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np

_BATCH_ROWS = 131_072


def batches_of(data: Any) -> Callable[[], Iterator[dict[str, Any]]] | None:
    """A function that starts reading Arrow data as dicts of NumPy columns.

    Args:
        data: a path to a Parquet file, a `ParquetFile`, or a dataset, scanner or table of pyarrow.

    Returns:
        The function, which can be called again; None where `data` is nothing of the kind.

    Raises:
        ChunkError: it has no columns of numbers, or can be read once only.
        ImportError: it is a path, and pyarrow is not installed.
    """
    if isinstance(data, (str, Path)):
        return batches_of(_opened(data))
    if not type(data).__module__.startswith("pyarrow"):
        return None
    kind = type(data).__name__
    if kind == "ParquetFile":
        columns = _numeric(data.schema_arrow, data)
        return lambda: map(_columns, data.iter_batches(batch_size=_BATCH_ROWS, columns=columns))
    if kind == "Table":
        chosen = data.select(_numeric(data.schema, data))
        return lambda: map(_columns, chosen.to_batches(max_chunksize=_BATCH_ROWS))
    if kind == "Scanner":
        _numeric(data.projected_schema, data, every=True)
        return lambda: map(_columns, data.to_batches())
    if hasattr(data, "scanner"):
        columns = _numeric(data.schema, data)
        return lambda: map(_columns, data.scanner(columns=columns, batch_size=_BATCH_ROWS).to_batches())
    raise ChunkError(
        f"data of pyarrow must be a ParquetFile, Dataset, Scanner or Table, which can be read again; got a {kind}."
    )


def names_parquet(path: str | Path) -> bool:
    """Whether a path is that of a Parquet file, by its name."""
    suffixes = Path(path).suffixes
    return ".parquet" in suffixes or ".pq" in suffixes


def _opened(path: str | Path) -> Any:
    if not names_parquet(path):
        raise ChunkError(
            f"data given as a path must be a Parquet file, with a name that ends in .parquet or .pq; got "
            f"{str(path)!r}. Open a .npy file with numpy.load(path, mmap_mode='r')."
        )
    try:
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise ImportError(
            f"Reading {str(path)!r} needs pyarrow: install it with `pip install 'zrun-tf[parquet]'`."
        ) from error
    return ParquetFile(path)


def _numeric(schema: Any, data: Any, *, every: bool = False) -> list[str]:
    """The names of the columns of numbers."""
    named = [(field.name, field.type) for field in schema]
    chosen = [name for name, kind in named if _is_numeric(kind)]
    if not chosen or (every and len(chosen) < len(named)):
        found = ", ".join(f"{name}: {kind}" for name, kind in named) or "none"
        raise ChunkError(
            f"data must have columns of numbers or bools{'' if not every else ' only'}; the columns of the "
            f"{type(data).__name__} are {found}. Choose with pyarrow.dataset.dataset(...).scanner(columns=[...])."
        )
    return chosen


def _is_numeric(kind: Any) -> bool:
    inner = kind.value_type if str(kind).startswith("fixed_size_list") else kind
    return str(inner) in {"bool", "halffloat", "float", "double"} or str(inner).startswith(("int", "uint"))


def _columns(batch: Any) -> dict[str, np.ndarray[Any, Any]]:
    return {name: _numbers(name, column) for name, column in zip(batch.schema.names, batch.columns, strict=True)}


def _numbers(name: str, column: Any) -> np.ndarray[Any, Any]:
    if str(column.type).startswith("fixed_size_list"):
        inner = _numbers(name, column.flatten())
        column_size = column.type.list_size
        if column.null_count == 0:
            return inner.reshape(-1, column_size)
    if column.null_count:
        raise ChunkError(
            f"Column {name!r} has {column.null_count} nulls, which are no numbers. Fill them, or leave these rows out "
            f"with pyarrow.dataset.dataset(...).scanner(filter=pyarrow.dataset.field({name!r}).is_valid())."
        )
    return column.to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]
