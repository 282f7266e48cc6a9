"""A pool of threads that makes do with fewer, or none, where the system cannot start one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Executor, Future, as_completed
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from meddel_fast.common.resources import cores

T = TypeVar("T")

_MOST = 256  # threads, whatever is asked for: of a million none would come to work


class Pool(Executor):
    """As `concurrent.futures.ThreadPoolExecutor`; with fewer threads where one cannot be started.

    Where none can (a limit on processes, a full machine), work is done when it is submitted.

    Parameters
    ----------
    workers
        Most threads at a time.
    name
        Their name.
    """

    def __init__(self, workers: int, name: str = "pool") -> None:
        self._wanted, self._name = min(workers, _MOST), name
        self._threads: list[threading.Thread] = []
        self._todo: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Have ``fn(*args, **kwargs)`` called, and return what holds the result."""
        future: Future[T] = Future()
        if len(self._threads) < self._wanted:
            self._start()
        if self._threads:
            self._todo.put((future, lambda: fn(*args, **kwargs)))
        else:
            _fill(future, lambda: fn(*args, **kwargs))
        return future

    def _start(self) -> None:
        thread = threading.Thread(target=self._work, name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError:  # "can't start new thread"
            self._wanted = len(self._threads)
        else:
            self._threads.append(thread)

    def _work(self) -> None:
        while (job := self._todo.get()) is not None:
            _fill(*job)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the threads when all work is done, or with `cancel_futures` what is begun."""
        while cancel_futures:
            try:
                job = self._todo.get_nowait()
            except Empty:
                break
            if job is not None:
                job[0].cancel()
        for _ in self._threads:
            self._todo.put(None)
        for thread in self._threads if wait else ():
            thread.join()


def call_all(
    function: Callable[..., T],
    jobs: Collection[Sequence[Any]],
    workers: int | None,
    progress: Callable[[int, int], None] | None,
) -> list[T]:
    """Call ``function(*job)`` for all jobs by a pool of threads; return what comes, as it comes.

    Parameters
    ----------
    function
        What to call; the first error that it raises ends the work, as Ctrl-C does: what is not
        begun by then is not begun.
    jobs
        Its arguments.
    workers
        Threads; by default one a core.
    progress
        Called as ``progress(done, total)`` after each.
    """
    stop = threading.Event()

    def call(job: Sequence[Any]) -> T:
        if stop.is_set():
            raise InterruptedError
        return function(*job)

    results: list[T] = []
    pool = Pool(workers or cores())
    try:
        for future in as_completed([pool.submit(call, job) for job in jobs]):
            results.append(future.result())
            if progress:
                progress(len(results), len(jobs))
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
    return results


def _fill(future: Future[Any], call: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(result)
