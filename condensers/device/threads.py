"""Chunks side by side on the threads of a CPU, each on one thread from beginning to end."""

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

    Torch's own way, all threads on every operation, lets them wait for each other hundreds of times per iteration, for
    milliseconds each time if the machine has other work. Here the number of threads does not change the results either,
    not by a bit, except for a single chunk, which all threads share.

    All lanes share their threads, for loops that train networks make lanes many times an iteration. So a function that
    is mapped must not map: it would wait for the thread that it runs on.
    """

    def __init__(self, device: torch.device) -> None:
        self.on_cpu = device.type == "cpu"
        threads = torch.get_num_threads() if self.on_cpu else 1
        self.pool = _pool(threads) if threads > 1 else None

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """The results in the order of the items; the function runs in the grad mode that it sets itself."""
        items = list(items)
        if not self.on_cpu or len(items) < 2:
            return [function(item) for item in items]
        with _one_thread():
            return list((self.pool.map if self.pool else map)(function, items))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Torch, and the BLAS that NumPy calls, compute on the thread that calls them."""
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


# A forked process has the executor, but not its threads.
os.register_at_fork(after_in_child=_pool.cache_clear)


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()
