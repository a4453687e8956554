"""File names: whether those read can be written, and unique ones for what is written."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

#: With a suffix and a number, a name then stays within the 255 bytes that systems allow.
LONGEST_STEM_BYTES = 200
UNSAFE = re.compile(r'[\x00-\x1f\ufffe\uffff<>:"/\\|?*]')


def composed(name: str) -> str:
    """Return a name for comparing: a Mac writes ä as a and its dots, which looks the same."""
    return unicodedata.normalize("NFC", name)


def shown(name: str) -> str:
    """Return a printable name; bytes that are not UTF-8 look as in ``Pr\\xfcfung.png``."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def is_utf8(name: str) -> bool:
    """Tell whether a name can be written to a table or a VOC file."""
    return shown(name) == name


def why_unwritable(name: str) -> str:
    """Return why a name that is not UTF-8 cannot be written, and what to do."""
    try:
        os.fsencode(name).decode("utf-8")
    except UnicodeDecodeError:
        return "its name is no UTF-8: rename it"
    return "names are not read as UTF-8 here: set PYTHONUTF8=1"


def well_named(paths: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """Return the files whose names are UTF-8 and so can be written to a table or a VOC file.

    Returns
    -------
    The files, and a sentence on each other one, such as one packed by an old Windows.
    """
    others = [path.name for path in paths if not is_utf8(path.name)]
    notes = [f"{shown(name)} left out: {why_unwritable(name)}" for name in others]
    return [path for path in paths if is_utf8(path.name)], notes


class UniqueNames:
    """Gives each image a stem of its own within one export.

    Two names that differ only in their suffix, in case or in how they write an umlaut count as the
    same, since on some systems their VOC files would overwrite each other. The second gets a
    number. Long names are cut.

    Parameters
    ----------
    taken
        Stems already in use.
    """

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = {_key(stem) for stem in taken}
        self._last = dict[str, int]()  # the last number given to each wanted stem

    def stem(self, name: str) -> str:
        """Return a stem like that of ``name`` that was not returned before."""
        # An image's name in Label Studio or a VOC file must never lead out of the export.
        base = PureWindowsPath(PurePosixPath(name).name).name
        safe = UNSAFE.sub("_", PurePosixPath(base).stem).encode("utf-8", "ignore")
        wanted = safe[:LONGEST_STEM_BYTES].decode("utf-8", "ignore").strip(". ") or "image"
        stem, number = wanted, self._last.get(_key(wanted), 1)
        while _key(stem) in self._taken:
            number += 1
            stem = f"{wanted}-{number}"
        self._last[_key(wanted)] = number
        self._taken.add(_key(stem))
        return stem


def _key(stem: str) -> str:
    return composed(stem).casefold()
