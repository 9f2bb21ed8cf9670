"""Work in several processes: results as they come, and no process that outlives the one that asked."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from msa2net_lib.errors import InputError

Job = TypeVar("Job")
Result = TypeVar("Result")


def in_processes(function: Callable[[Job], Result], jobs: Sequence[Job], workers: int | None) -> Iterator[Result]:
    """Yield ``function(job)`` of every job, in the order in which they finish.

    ``workers`` processes run at once; 1 runs all in this one, None is one a core or job. ``function`` and
    ``jobs`` are sent to them by pickling. On the first failure the jobs not yet begun are dropped and it is
    raised here. Raises: `InputError` for fewer than one worker, and if a worker process dies.
    """
    check_workers(workers)
    workers = min(workers or usable_cores(), max(1, len(jobs)))
    if workers == 1:
        yield from map(function, jobs)
        return
    # spawn: a fork of a process that runs torch, a notebook or pytest may inherit a locked lock.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_become_worker) as pool:
        try:
            for future in as_completed([pool.submit(function, job) for job in jobs]):
                yield future.result()
        except BrokenProcessPool as error:
            raise InputError(
                "a worker process died: out of memory, or a script without `if __name__ == '__main__':`; try workers=1"
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def check_workers(workers: int | None) -> None:
    """Raise InputError for fewer than one worker; None, for one a core, is well."""
    if workers is not None and workers < 1:
        raise InputError(f"workers={workers}: give 1 or more")


def usable_cores() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _become_worker() -> None:
    """Leave Ctrl-C to the main process, and end when it does, even if it was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
