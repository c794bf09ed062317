"""Chunks in parallel on the threads of a CPU, each chunk on one thread from beginning to end."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

import torch
from threadpoolctl import ThreadpoolController

Item, Result = TypeVar("Item"), TypeVar("Result")


class Lanes:
    """Maps a function over chunks: on a CPU on as many threads as torch has, on other devices one after another.

    Torch itself puts all threads on every operation. They then wait for each other hundreds of times per iteration, for
    milliseconds each time if the machine has other work. With lanes the number of threads does not change a single bit
    of the results, except for a single chunk, which all threads share.

    All `Lanes` use one thread pool, because training loops create `Lanes` many times an iteration. A mapped function
    must not call `map` itself: it would wait for its own thread.
    """

    def __init__(self, device: torch.device) -> None:
        self.on_cpu = device.type == "cpu"
        threads = torch.get_num_threads() if self.on_cpu else 1
        self.pool = _pool(threads) if threads > 1 else None

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """The results in the order of the items; the function must set its grad mode itself."""
        items = list(items)
        if not self.on_cpu or len(items) < 2:
            return [function(item) for item in items]
        with _one_thread():
            return list((self.pool.map if self.pool else map)(function, items))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Within this, torch and the BLAS that NumPy calls compute on the calling thread alone."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with _blas().limit(limits=1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(threads)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    # Set in each thread, because some libraries under torch ignore what another thread has set.
    return ThreadPoolExecutor(threads, "chunk", initializer=torch.set_num_threads, initargs=(1,))


# A forked process inherits the executor without its threads, so it must make a new one.
os.register_at_fork(after_in_child=_pool.cache_clear)


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()
