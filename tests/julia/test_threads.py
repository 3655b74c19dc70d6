"""With how many threads juliacall is told to start Julia."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from pysciml.engines.julia.threads import threads_chosen

THREADS, SIGNALS = "PYTHON_JULIACALL_THREADS", "PYTHON_JULIACALL_HANDLE_SIGNALS"

linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere Julia has one thread")


def settings():
    return tuple(os.environ.get(name) for name in (THREADS, SIGNALS))


def chosen():
    with threads_chosen():
        return settings()


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    for name in (THREADS, SIGNALS, "JULIA_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)


@linux
def test_a_thread_for_each_core_and_nothing_is_left_behind():
    assert chosen() == ("auto", "yes")
    assert settings() == (None, None)


@linux
@pytest.mark.parametrize(
    ("given", "inside"),
    [
        ({THREADS: "3"}, ("3", "yes")),
        ({"JULIA_NUM_THREADS": "4"}, ("4", "yes")),
        ({THREADS: "1"}, ("1", None)),
        ({"JULIA_NUM_THREADS": "1"}, (None, None)),
        ({SIGNALS: "no"}, (None, "no")),
        ({THREADS: "2", SIGNALS: "yes"}, ("2", "yes")),
    ],
)
def test_what_the_user_has_set_is_kept(given, inside, monkeypatch):
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert chosen() == inside
    assert settings() == (given.get(THREADS), given.get(SIGNALS))


@linux
def test_an_option_of_the_interpreter():
    code = "from test_threads import chosen; print(chosen())"
    done = subprocess.run(
        [sys.executable, "-X", "juliacall-handle-signals=no", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": f"{os.getcwd()}:{os.path.dirname(__file__)}"},
    )
    assert done.stdout.strip() == "(None, None)"


def test_no_threads_where_signals_cannot_be_taken_back(monkeypatch):
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(chosen).result() == (None, None)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert chosen() == (None, None)


@linux
def test_signals_are_pythons_again():
    heard = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: heard.append(number))
    try:
        with threads_chosen():
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGUSR1])
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()
        os.kill(os.getpid(), signal.SIGUSR1)
        assert heard == [signal.SIGUSR1]
    finally:
        signal.signal(signal.SIGUSR1, before)
