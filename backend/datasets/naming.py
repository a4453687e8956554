"""File names for what is written: safe on every system, and no two the same."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath, PureWindowsPath

UNSAFE = re.compile(r'[\x00-\x1f<>:"/\\|?*]')


class UniqueNames:
    """Gives each image a stem of its own within one export.

    Two names that differ only in their suffix or in upper and lower case count as the same, since
    their VOC files would overwrite each other; the second is given a number.

    Parameters
    ----------
    taken
        Stems that others have.
    """

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = {stem.casefold() for stem in taken}

    def stem(self, name: str) -> str:
        """Return a stem like the one of ``name`` that was not returned before."""
        # What Label Studio or a VOC file calls an image must never lead out of the export.
        base = PureWindowsPath(PurePosixPath(name).name).name
        wanted = UNSAFE.sub("_", PurePosixPath(base).stem).strip(". ") or "image"
        stem, number = wanted, 1
        while stem.casefold() in self._taken:
            number += 1
            stem = f"{wanted}-{number}"
        self._taken.add(stem.casefold())
        return stem
