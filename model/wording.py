"""Numbers and lists in the sentences that people read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

#: How what is told of a limit begins, in whatever it is written. Kept predictions, annotations and
#: ``counts.json`` are known again by it: these words stay.
LIMIT_REACHED = "limit reached"
#: Of more names, or lines, the first are told and how many there are.
NAMED_AT_MOST = 5
# Several places lie on each cell, and the best are looked at: smaller images reach it as well.
_CROWDED = (
    "more places look like cells than are looked at, so a few cells may be missing: look for cells "
    "without a box"
)
_MEANING = {
    "rpn_pre_nms": _CROWDED,
    "rpn_post_nms": _CROWDED,
    "detections_per_image": "more boxes were found than are kept, so cells may be missing: cut the "
    "image into smaller ones, where cells on a cut count twice",
}
#: Of which a terminal shows none: it does what they say.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def counted(number: int, what: str) -> str:
    """Return a number with its noun, such as ``1 image``, ``2 images`` or ``3 boxes``."""
    several = f"{what}es" if what.endswith("x") else f"{what}s"
    return f"{number} {what if number == 1 else several}"


class Naming(str):
    """A sentence with the names of all that it speaks of.

    Parameters
    ----------
    brief
        The same with the first names alone, as people are shown it.
    """

    brief: str

    def __new__(cls, whole: str, brief: str) -> Naming:
        sentence = super().__new__(cls, whole)
        sentence.brief = brief
        return sentence

    @classmethod
    def of(
        cls, names: Sequence[str], before: str = "", after: str = "", most: int = NAMED_AT_MOST
    ) -> Naming:
        """Return a sentence that is names between words, of which people are shown the first."""
        whole, brief = ", ".join(names), shortened(names, most)
        return cls(f"{before}{whole}{after}", f"{before}{brief}{after}")


def shortened(names: Iterable[str], most: int = NAMED_AT_MOST) -> str:
    """Return the first names and how many more there are."""
    all_names = list(names)
    more = len(all_names) - most
    return ", ".join(all_names[:most]) + (f" and {more} more" if more > 0 else "")


def first_of(lines: Sequence[str], most: int = NAMED_AT_MOST) -> list[str]:
    """Return the first of many lines, brief, and a last that says how many more there are."""
    more = len(lines) - most
    shown = [line.brief if isinstance(line, Naming) else line for line in lines[:most]]
    return [*shown, *([f"and {more} more"] if more > 0 else [])]


def one_line(text: str) -> str:
    """Return a text in which nothing parts lines or tells the terminal what to do.

    A file's name may: what would is written out, such as ``\\n``.
    """
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


def printable(text: str) -> str:
    """Return a text as :func:`one_line` does, but that its lines stay apart."""
    return "\n".join(map(one_line, text.split("\n")))


def limits_in_words(caps_reached: Sequence[str]) -> tuple[str, ...]:
    """Say what the caps that were reached mean to whoever counts the cells, and what to do."""
    meanings = dict.fromkeys(_MEANING.get(cap, cap) for cap in caps_reached)
    return tuple(f"{LIMIT_REACHED}: {meaning}" for meaning in meanings)
