"""Delays between tries of something that failed: soon at first, then ever more rarely."""

from __future__ import annotations

import time
from dataclasses import dataclass

#: The first delay, the factor by which each later one grows, and the longest delay.
FIRST_S, FACTOR, LONGEST_S = 5.0, 4.0, 600.0


@dataclass
class Backoff:
    """A time at which to try again; due from the beginning."""

    due_at: float = 0.0
    wait_s: float = FIRST_S

    @property
    def is_due(self) -> bool:
        return time.monotonic() >= self.due_at

    def postpone(self) -> None:
        """Wait before the next try, and longer before the one after it."""
        self.due_at = time.monotonic() + self.wait_s
        self.wait_s = min(self.wait_s * FACTOR, LONGEST_S)
