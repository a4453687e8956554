"""A training that is to stop, by Ctrl-C or by a signal, finishes its step first."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def stops_held() -> Iterator[Callable[[], bool]]:
    """Hold back the first signal that would end this process until the block ends.

    Yield a function that says whether one came. A second one ends the process at once. Where others
    handle Ctrl-C, as in a worker, or this is not the main thread, nothing is held back.
    """
    held, before = list[int](), _ended_by()

    def let_through() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def hold(number: int, _frame: FrameType | None) -> None:
        held.append(number)
        let_through()

    for number in before:
        signal.signal(number, hold)
    try:
        yield lambda: bool(held)
    finally:
        let_through()
        if held:
            signal.raise_signal(held[0])


def _ended_by() -> dict[int, signal.Handlers | Callable[[int, FrameType | None], object]]:
    """Return the signals that would end this process, and what they do."""
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return {}
    others = [n for n in _ENDING if signal.getsignal(n) is signal.SIG_DFL]
    return {signal.SIGINT: signal.default_int_handler, **dict.fromkeys(others, signal.SIG_DFL)}
