"""Chunks spread over threads: as many as CPUs can be leased, while the calling thread reads the chunks that follow."""

from __future__ import annotations

import os
import queue
import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from zrun_core._scope import bind
from zrun_core.errors import CpuLeaseTimeoutError

from ._chunked_progress import Progress
from ._run import run as manager

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

# Threads wait for work most of the time; how many work at once is a matter of leases.
_MOST_THREADS: Final = 64

_pool: ThreadPoolExecutor | None = None
_pool_lock = threading.Lock()
_here = threading.local()


def _threads() -> ThreadPoolExecutor:
    global _pool  # noqa: PLW0603 - one pool per process, made late
    with _pool_lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(_MOST_THREADS, thread_name_prefix="zrun-chunks")
        return _pool


def _forget_pool() -> None:
    # The threads of the parent do not exist in a forked process.
    global _pool, _pool_lock
    _pool, _pool_lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


@contextmanager
def leased(most: int) -> Iterator[int]:
    """Lease CPUs without waiting; where none is free, the caller's own counts as one.

    Args:
        most: how many can be used.
    """
    if most <= 1:
        yield 1
        return
    lease = manager.acquire_cpu(most, timeout=0)
    try:
        cpus = lease.__enter__()
    except CpuLeaseTimeoutError:
        yield 1
        return
    try:
        yield int(cpus)
    finally:
        lease.__exit__(None, None, None)


def elsewhere(function: Callable[[], Any]) -> Any:
    """Run a function where no tape of the calling thread sees it."""
    if getattr(_here, "works", False):
        return function()
    return _threads().submit(bind(_marked(function))).result()


def _marked(function: Callable[..., Any]) -> Callable[..., Any]:
    def marked(*args: Any) -> Any:
        before = getattr(_here, "works", False)
        _here.works = True
        try:
            return function(*args)
        finally:
            _here.works = before

    return marked


def in_order(
    what: str,
    chunks: Iterable[list[Any]],
    work: Callable[[list[Any]], Any],
    use: Callable[[Any], None],
    n_workers: int,
    progress: Progress,
    *,
    helps: bool = False,
) -> None:
    """Work on chunks in threads, and use the results in the order of the chunks.

    Args:
        what: what is computed, for messages.
        chunks: read in the calling thread, a few ahead of the work.
        work: called with a chunk in some thread, under the caller's policy.
        use: called with each result, in the calling thread.
        n_workers: threads.
        progress: is told the rows that are done.
        helps: whether the calling thread is one of those that work, because there is nothing to read; each thread then
            takes its chunks by itself.

    Raises:
        KeyboardInterrupt: the user pressed Ctrl-C; no chunk is under work any more, and the message says how many were
            done. Any other exception of `chunks` or `work` passes through, once the others have stopped.
    """
    if getattr(_here, "works", False):
        # Called by a user's function while it works on a chunk: this thread is one of those already.
        for chunk in chunks:
            use(work(chunk))
        return
    crew: _Helped | _Crew = _Helped(work, n_workers - 1) if helps else _Crew(work, n_workers)

    def use_finished() -> None:
        for rows, result in crew.finished():
            use(result)
            progress.advance(rows)
        progress.show()

    try:
        crew.begin(chunks, use_finished)
        while not crew.join(timeout=progress.interval):
            progress.show()
        use_finished()
    except KeyboardInterrupt:
        crew.stop()
        for rows, _ in crew.finished():
            progress.advance(rows)
        raise KeyboardInterrupt(f"{what} was stopped {progress.text()}") from None
    except BaseException:
        crew.stop()
        raise
    finally:
        progress.close()
    crew.reraise()


class _Workers:
    """Threads that work on chunks, and what they have done."""

    def __init__(self, work: Callable[[list[Any]], Any]) -> None:
        self._done: dict[int, tuple[int, Any]] = {}
        self._work = work
        self._stopped = False
        self.failed: BaseException | None = None
        self._used = 0
        self._futures: list[Future[None]] = []

    def _start(self, loop: Callable[[], None], n_threads: int) -> None:
        bound = bind(_marked(loop))
        self._futures = [_threads().submit(bound) for _ in range(n_threads)]

    def _work_on(self, number: int, chunk: list[Any]) -> None:
        self._done[number] = (len(chunk[0]), self._work(chunk))

    def _fail(self, error: BaseException) -> None:
        if self.failed is None:
            self.failed = error

    def finished(self) -> Iterator[tuple[int, Any]]:
        """Rows and results, in order, as far as they are there."""
        while self._used in self._done:
            yield self._done.pop(self._used)
            self._used += 1

    def join(self, timeout: float | None) -> bool:
        """Wait until all threads have left; whether they have."""
        return not self._futures or not wait(self._futures, timeout).not_done

    def reraise(self) -> None:
        """Raise what a thread has raised, if one has."""
        if self.failed is not None:
            raise self.failed


class _Crew(_Workers):
    """Threads that take chunks from a queue, which the calling thread fills, until they are told to stop."""

    def __init__(self, work: Callable[[list[Any]], Any], n_workers: int) -> None:
        super().__init__(work)
        self._todo: queue.Queue[tuple[int, list[Any]] | None] = queue.Queue(maxsize=n_workers)
        self._ends = n_workers
        self._start(self._loop, n_workers)

    def _loop(self) -> None:
        while (task := self._todo.get()) is not None:
            if self._stopped or self.failed is not None:
                continue
            try:
                self._work_on(*task)
            except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
                self._fail(error)

    def begin(self, chunks: Iterable[list[Any]], use_finished: Callable[[], None]) -> None:
        """Read all chunks; waits while all threads have more than enough to do."""
        for number, chunk in enumerate(chunks):
            self._put((number, chunk), use_finished)
            use_finished()
            if self.failed:
                break
        self._close(use_finished)

    def _put(self, task: tuple[int, list[Any]] | None, meanwhile: Callable[[], None]) -> None:
        while True:
            with suppress(queue.Full):
                self._todo.put(task, timeout=Progress.interval)
                return
            # A chunk can take longer than the user should be left without a bar.
            meanwhile()

    def _close(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        while self._ends:
            self._put(None, meanwhile)
            self._ends -= 1

    def stop(self) -> None:
        """Have no more chunks begun, and wait for those under work."""
        self._stopped = True
        self._close()
        self.join(None)


class _Helped(_Workers):
    """Threads that share the chunks with the calling thread, each of which takes the next one when it is free.

    Where there are few chunks, waking another thread costs as much as a good part of the work.
    """

    def __init__(self, work: Callable[[list[Any]], Any], n_threads: int) -> None:
        super().__init__(work)
        self._n_threads = n_threads
        self._chunks: Iterator[tuple[int, list[Any]]] = iter(())
        self._taking = threading.Lock()

    def _take(self) -> tuple[int, list[Any]] | None:
        if self._stopped or self.failed is not None:
            return None
        with self._taking:
            return next(self._chunks, None)

    def _loop(self) -> None:
        try:
            while (task := self._take()) is not None:
                self._work_on(*task)
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            self._fail(error)

    def begin(self, chunks: Iterable[list[Any]], use_finished: Callable[[], None]) -> None:
        """Work on chunks until none is left that nobody has taken."""
        self._chunks = enumerate(chunks)
        # What is to be done is found out with the first chunk, before any other thread can do it.
        task = next(self._chunks, None)
        if task is not None:
            self._start(self._loop, self._n_threads)
        work_on = _marked(self._work_on)
        while task is not None:
            work_on(*task)
            use_finished()
            task = self._take()

    def stop(self) -> None:
        """Have no more chunks begun, and wait for those under work."""
        self._stopped = True
        self.join(None)
