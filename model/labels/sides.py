"""Which corrected images teach, and which judge: dealt once, for ever."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # which loads numpy, and settings have no use for it
    from model.labels.examples import Side

#: Images are dealt by so many, and a last few like these from so many on.
FIVE, FEWEST_OF_FIVE = 5, 3
#: Groups of images with a side from which on some of each five stop a training.
INNER_FROM = 20


def content_hash(sha256: str, page: int) -> str:
    """Return a hash of one page; those of a file have one sha256 and would go to one side."""
    return sha256 if page == 0 else hashlib.sha256(f"{sha256} {page}".encode()).hexdigest()


def is_reserved(content: str) -> bool:
    """Whether an image is held out by its hash alone, as one in five are.

    So it is known before anyone has corrected it.
    """
    return int(content, 16) % FIVE == 0


def decide_sides(
    hashes: Sequence[str],
    known: Sequence[Side | None],
    groups: Sequence[int],
    reserving: bool = False,
) -> list[Side | None]:
    """Return the side of each image; a side that is known stays as it is.

    Images alike, such as two frames of one field, share a side: that of the earliest that has one.
    Else the first image of each group is dealt for all of it. Of each five of these, in order, the
    one with the lowest hash is held out. Once ``INNER_FROM`` groups have a side, the one with the
    second lowest hash of each five goes to the inner side; below that trainings run on a fixed
    schedule and need none. A last, unfinished five is decided like a whole one when it has three
    or more, and the one or two that fill it up later teach: it has what judges. One or two alone
    wait for the next run, since neither training on them nor holding them out would be fair to
    both sides.

    Parameters
    ----------
    hashes
        In order of correction, those with a known side first.
    known
        The side of each image; None where it has none yet.
    groups
        Images alike have one number (see ``model.labels.likeness.group_alike``).
    reserving
        Hold out the images that are reserved, and of fives only while fewer than a fifth of all
        are held out: for projects whose held-out tasks are to be known when they are opened.

    Returns
    -------
    A side for each image; None where it waits.
    """
    sides: dict[int, Side | None] = {}
    for group, side in zip(groups, known, strict=True):
        if side and group not in sides:
            sides[group] = side
    first: dict[int, str] = {}
    for group, sha256 in zip(groups, hashes, strict=True):
        if group not in sides:
            first.setdefault(group, sha256)
    if reserving:
        sides |= {group: "held-out" for group, sha256 in first.items() if is_reserved(sha256)}
        first = {group: sha256 for group, sha256 in first.items() if group not in sides}
    decided = [side for side in sides.values() if side]
    sides |= zip(first, _deal(list(first.values()), decided, reserving), strict=True)
    return [side or sides[group] for group, side in zip(groups, known, strict=True)]


def _deal(hashes: Sequence[str], decided: Sequence[Side], reserving: bool) -> list[Side | None]:
    """Fill up the last five of those that are decided, and deal fives after it."""
    dealt: list[Side | None] = ["train"] * min(_missing(decided), len(hashes))
    for start in range(len(dealt), len(hashes), FIVE):
        five, done = hashes[start : start + FIVE], [*decided, *dealt]
        enough = reserving and FIVE * done.count("held-out") >= len(done) + len(five)
        dealt += _sides_of_five(five, not enough, with_inner=len(done) >= INNER_FROM)
    return dealt


def _missing(decided: Sequence[Side]) -> int:
    """Return how many images the last five still lacks that has its held-out and inner ones."""
    missing = -len(decided) % FIVE
    whole = len(decided) + missing
    judged = FIVE * decided.count("held-out") >= whole
    stopped = FIVE * decided.count("inner") >= whole - INNER_FROM
    return missing if missing < FEWEST_OF_FIVE and judged and stopped else 0


def _sides_of_five(five: Sequence[str], with_held_out: bool, with_inner: bool) -> list[Side | None]:
    if len(five) < FEWEST_OF_FIVE:
        return [None] * len(five)
    ranked = sorted(five)
    held_out, inner = ranked[0] if with_held_out else None, ranked[1] if with_inner else None
    return ["held-out" if h == held_out else "inner" if h == inner else "train" for h in five]
