"""What a loss is called with for each chunk: its data and parameters taken apart once, for rows to be put in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from zrun_core._structure import Flattening, flatten

from ._carried import ARGUMENTS, Taken
from ._chunked_graph import ChunkRun, ready
from ._chunked_rows import ArraySource
from ._leaves import ChunkRows, RowData

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ._chunked_graph import ChunkFunction
    from ._chunked_rows import Source
    from ._parameters import Bound


class ChunkArguments:
    """The loss, its data and its parameters, for as long as another look at them would find the same.

    Args:
        loss: the loss.
        data: its further arguments, with `RowData` among them.
        params: its parameters.
        source_of: makes the source of the rows.

    Attributes:
        data: as given.
        source: of the rows.

    Raises:
        ChunkError: `source_of` raised it.
    """

    def __init__(
        self,
        loss: Callable[..., Any],
        data: Mapping[str, Any],
        params: Bound,
        source_of: Callable[[list[RowData]], Source],
    ) -> None:
        self.data = data
        self._loss, self._params = loss, params
        self._flat = flatten(dict(data))
        self._places = [place for place, leaf in enumerate(self._flat.leaves) if isinstance(leaf, RowData)]
        self.source = source_of([self._flat.leaves[place] for place in self._places])
        self._known: tuple[Any, list[Any], list[int], list[Any]] | None = None
        self._inputs: list[Any] = []
        self._graphs: dict[Any, Any] = {}

    def call(self, function: ChunkFunction[..., Any], tensors: Sequence[Any], x: Any) -> Any:
        """Call a function of one chunk.

        Args:
            function: the function.
            tensors: the arrays of the chunk.
            x: the parameters, or `Rows` of them.
        """
        is_vector = type(x) is np.ndarray
        if is_vector and (graph := function.known(self._graphs)) is not None:
            return ChunkRun(graph, [*self._inputs, x])
        rows = list(map(ChunkRows, tensors))
        arguments = self._with(rows)
        parts, fixed, places, weak = self._known or self._taken_apart(arguments)
        leaves = list(fixed)
        for place, row in zip(places, rows, strict=True):
            leaves[place] = row
        into = Flattening()
        key = into.visit(x)
        found = function.run_taken((*arguments, x), (*parts, key), Taken([*leaves, *into.leaves], weak))
        if is_vector:
            function.remember(self._graphs, (*parts, key))
        return found

    def _with(self, rows: Sequence[ChunkRows]) -> tuple[Any, ...]:
        leaves = list(self._flat.leaves)
        if isinstance(self.source, ArraySource):
            for place, row in zip(self._places, rows, strict=True):
                leaves[place] = row
        else:
            leaves[self._places[0]] = self.source.layout.pack(rows)
        return self._loss, self._flat.rebuild(leaves), self._params

    def _taken_apart(self, arguments: tuple[Any, ...]) -> tuple[Any, list[Any], list[int], list[Any]]:
        """The keys of the arguments for any chunk, their leaves, where rows are among these, and what is opaque."""
        into = Flattening()
        parts = tuple(into.parts(ARGUMENTS, None, arguments))
        places = [place for place, leaf in enumerate(into.leaves) if isinstance(leaf, ChunkRows)]
        fixed = [None if isinstance(leaf, ChunkRows) else leaf for leaf in into.leaves]
        self._inputs = [None if isinstance(leaf, ChunkRows) else ready(leaf) for leaf in into.leaves]
        self._known = (parts, fixed, places, into.weak)
        return self._known
