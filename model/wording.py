"""Numbers in the sentences that people read."""

from __future__ import annotations


def counted(number: int, what: str) -> str:
    """Return a number with its noun, such as ``1 image``, ``2 images`` or ``3 boxes``."""
    several = f"{what}es" if what.endswith("x") else f"{what}s"
    return f"{number} {what if number == 1 else several}"
