"""Numbers and lists in the sentences that people read."""

from __future__ import annotations

from collections.abc import Sequence


def counted(number: int, what: str) -> str:
    """Return a number with its noun, such as ``1 image``, ``2 images`` or ``3 boxes``."""
    several = f"{what}es" if what.endswith("x") else f"{what}s"
    return f"{number} {what if number == 1 else several}"


def first_of(lines: Sequence[str], most: int = 5) -> list[str]:
    """Return the first of many lines, and a last one that says how many more there are."""
    more = len(lines) - most
    return [*lines[:most], *([f"and {more} more"] if more > 0 else [])]
