"""What is told to stop, in a process of its own."""

import signal
import subprocess
import sys
import threading

import pytest

from model.training.stopping import stops_held

TOLD = """
import signal, sys
from model.training.stopping import stops_held

# As a shell starts a command: one behind nohup or & would ignore some.
signal.signal(signal.SIGINT, signal.default_int_handler)
for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
with stops_held() as is_told:
    for name in sys.argv[1:]:
        signal.raise_signal(signal.Signals[name])
        print(is_told(), flush=True)
"""


def told(*names: str) -> tuple[list[str], int]:
    """Send signals to a process that holds the first back; return what it said, and its end."""
    words = [sys.executable, "-c", TOLD, *names]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stdout.split(), done.returncode


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_the_first_signal_waits_until_the_work_is_whole_and_then_ends_the_process(
    name: str,
) -> None:
    assert told(name) == (["True"], -signal.Signals[name])


def test_a_second_one_ends_it_at_once() -> None:
    assert told("SIGINT", "SIGTERM") == (["True"], -signal.SIGTERM)


def test_what_others_hear_and_what_another_thread_does_holds_nothing() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    try:
        with stops_held() as is_told:
            signal.raise_signal(signal.SIGINT)
            assert (is_told(), heard) == (False, [signal.SIGINT])
    finally:
        signal.signal(signal.SIGINT, before)
    asked: list[bool] = []

    def work() -> None:
        with stops_held() as is_told:
            asked.append(is_told())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert asked == [False]
