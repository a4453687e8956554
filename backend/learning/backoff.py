"""When something that failed is tried again: soon at first, then ever more rarely."""

from __future__ import annotations

import time
from dataclasses import dataclass

#: How soon it is tried again, how many times later each time after that, and how late at the most.
FIRST_S, FACTOR, LONGEST_S = 5.0, 4.0, 600.0


@dataclass
class Backoff:
    """A time at which to try; due from the beginning."""

    due_at: float = 0.0
    wait_s: float = FIRST_S

    @property
    def is_due(self) -> bool:
        return time.monotonic() >= self.due_at

    def postpone(self) -> None:
        """Wait before the next time, and before the one after that for longer."""
        self.due_at = time.monotonic() + self.wait_s
        self.wait_s = min(self.wait_s * FACTOR, LONGEST_S)
