"""How many threads Julia starts with, and whose the signals are then.

Threads of Julia meet at safepoints by a SIGSEGV that Julia handles, so with threads it has to
handle signals; without, the first garbage collection of a second thread ends the process. But then
Julia takes SIGINT and SIGTERM, too, which are Python's: Ctrl-C would end the process instead of
raising KeyboardInterrupt. So these are taken back after the start. (A solve looks after Ctrl-C by
itself, through Python.)
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pysciml.engines.julia.environment import setting

_THREADS, _SIGNALS = "PYTHON_JULIACALL_THREADS", "PYTHON_JULIACALL_HANDLE_SIGNALS"


@contextmanager
def threads_chosen() -> Iterator[None]:
    """Let juliacall start Julia with a thread for each core, unless the user has said otherwise.

    What says otherwise is a setting of juliacall's, `PYTHON_JULIACALL_THREADS` or
    `PYTHON_JULIACALL_HANDLE_SIGNALS`, or `JULIA_NUM_THREADS`. Where Julia's way with signals is
    another than Linux's, or Julia is not started by the main thread, there is one thread.
    """
    if setting("juliacall", "handle_signals") or not _can_take_signals_back():
        yield
        return
    threads = setting("juliacall", "threads") or os.environ.get("JULIA_NUM_THREADS") or "auto"
    if threads == "1":
        yield
        return
    with _signals_kept(), _set({_THREADS: threads, _SIGNALS: "yes"}):
        yield


def _can_take_signals_back() -> bool:
    return sys.platform == "linux" and threading.current_thread() is threading.main_thread()


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Give Python's signals back to Python: that the kernel delivers them, and what they do."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    ours = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGUSR1)
    handlers = {number: signal.getsignal(number) for number in ours}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            if handler is not None:  # else it was not Python that has set it
                signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@contextmanager
def _set(variables: dict[str, str]) -> Iterator[None]:
    """Environment variables for the block alone: processes started later choose for themselves."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
