"""Counts many images and keeps them one by one: finished work stays, and a second call goes on."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any

from backend.datasets.counts import COLUMNS, CountedImage, flagged, rows_of, table_of
from backend.datasets.naming import composed
from backend.datasets.result_folder import COUNTED, require_as_begun, require_empty
from backend.datasets.writing import write_whole
from backend.errors import BadRequest

TABLE, KEPT = "counts.csv", COUNTED
#: After each write the next one waits for this many times as long as the write took.
REST = 20
#: Flags of an image whose file now holds another image, or is gone from its folder.
REPLACED, GONE = "file replaced since", "file gone since"

Row = tuple[object, ...]


@dataclass(frozen=True)
class CountedFile:
    """One counted image.

    Parameters
    ----------
    file, folder, sha256
        Name, folder and hash of the raw file; a later call recognises the image by them.
    rows
        Its rows in the table.
    """

    file: str
    folder: str
    sha256: str
    cells: int
    flags: tuple[str, ...]
    rows: tuple[Row, ...]

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> CountedFile:
        return cls(**{**values, "rows": _rows(values), "flags": tuple(values["flags"])})

    def now(self, *became: str) -> CountedFile:
        """Return the image with the flag of what became of its file, or without one."""
        flags = (*(flag for flag in self.flags if flag not in (REPLACED, GONE)), *became)
        return replace(self, flags=flags, rows=tuple(flagged(row, flags) for row in self.rows))

    @property
    def is_there(self) -> bool:
        """Whether its folder still has a file of its name."""
        return _is_there(self.folder, self.file)


@dataclass(frozen=True)
class LeftOut:
    """One image that cannot be counted; kept until its file is looked at again or gone."""

    file: str
    folder: str
    rows: tuple[Row, ...]

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> LeftOut:
        return cls(**{**values, "rows": _rows(values)})

    def is_of(self, path: Path) -> bool:
        """Tell whether this entry is for a file, which may have been moved since."""
        if composed(self.file) != composed(path.name):
            return False
        return self.folder == _folder_of(path) or not _is_there(self.folder, self.file)

    @property
    def is_gone(self) -> bool:
        """Whether its folder is there without the file, as after the file was renamed."""
        return os.path.isdir(self.folder) and not _is_there(self.folder, self.file)


def _is_there(folder: str, file: str) -> bool:
    return os.path.lexists(os.path.join(folder, file))


def _rows(values: Mapping[str, Any]) -> tuple[Row, ...]:
    rows = tuple(tuple(row) for row in values["rows"])
    if any(len(row) != len(COLUMNS) for row in rows):
        raise BadRequest(
            "The counts there have other columns, of another release: give another --out."
        )
    return rows


def _folder_of(path: Path) -> str:
    return os.path.realpath(path.parent)  # unlike pathlib's, it accepts circular links


class Counts:
    """The table of counts in a folder of results, and the state from which a second call goes on.

    Both are rewritten after each image, the table first; more rarely if writing takes long. What a
    killed call did not write is counted again.

    Parameters
    ----------
    out
        New or empty, or begun by a call with the same choices.
    how
        The choices, by name.
    classes
        Each image gets a row for each of these.

    Raises
    ------
    BadRequest
        ``out`` holds other files, or was begun with other choices.
    """

    def __init__(self, out: Path, how: Mapping[str, object], classes: Sequence[str]) -> None:
        self._out, self._how, self._classes = out, how, classes
        #: By the image's stem in the folder.
        self.entries: dict[str, CountedFile] = {}
        #: By the stem of the image's name in the table.
        self._left_out: dict[str, LeftOut] = {}
        if (out / KEPT).exists():
            began, self.entries, self._left_out = _read(out / KEPT)
        else:
            require_empty(out)
        if self.entries:
            require_as_begun(out / TABLE, began, how)
        #: By file name, the stems of earlier calls' images that this call has not taken yet.
        self._waiting = defaultdict[str, list[str]](list)
        for stem, entry in self.entries.items():
            self._waiting[composed(entry.file)].append(stem)
        #: Folder and name of each file that this call has taken.
        self._taken = set[tuple[str, str]]()
        self._is_behind, self._rests_until_s = False, 0.0

    @property
    def stems(self) -> list[str]:
        """The stems in use, of images counted or not."""
        return [*self.entries, *self._left_out]

    def claim(self, path: Path, sha256: str | None = None) -> str | None:
        """Return the stem of a counted image, each stem only once; None for a new image.

        Parameters
        ----------
        sha256
            None if the file cannot be read; then only its place identifies it.
        """
        named, folder = self._waiting[composed(path.name)], _folder_of(path)
        claimed = [stem for stem in named if self.entries[stem].folder == folder]
        if sha256 is not None:  # its folder may have been moved, or be a copy
            claimed = [s for s in (*claimed, *named) if self.entries[s].sha256 == sha256]
        else:
            claimed.sort(key=lambda stem: REPLACED in self.entries[stem].flags)
        if not claimed:
            return None
        stem = claimed[0]
        named.remove(stem)
        self._take(path, folder)
        if sha256 is not None:
            self.entries[stem] = self.entries[stem].now()
        return stem

    def flag_missed(self) -> tuple[list[str], list[str]]:
        """Flag earlier images whose file now holds another image, or is gone.

        Only folders that this call looked into are considered.

        Returns
        -------
        The stems of the replaced, and of the gone.
        """
        looked_into = {folder for folder, _ in self._taken}
        replaced, gone = list[str](), list[str]()
        for name, stems in self._waiting.items():
            for stem in stems:
                entry = self.entries[stem]
                if (entry.folder, name) in self._taken:
                    replaced.append(stem)
                    self.entries[stem] = entry.now(REPLACED)
                elif entry.folder in looked_into and not entry.is_there:
                    gone.append(stem)
                    self.entries[stem] = entry.now(GONE)
        return replaced, gone

    def begin(self) -> None:
        """Mark the folder as one that a second call may go on with, before all else."""
        if not (self._out / KEPT).exists():
            self._keep()

    def add(self, stem: str, path: Path, sha256: str, image: CountedImage) -> CountedFile:
        """Count an image, once all of its files are written."""
        rows = tuple(rows_of(image, self._classes))
        folder = _folder_of(path)
        entry = CountedFile(path.name, folder, sha256, len(image.boxes), image.flags, rows)
        self._take(path, folder)
        self.entries[stem] = entry
        self._is_behind = True
        if monotonic() >= self._rests_until_s:
            self.write()
        return entry

    def catch_up(self) -> None:
        """Write what is not written yet."""
        if self._is_behind:
            self.write()

    def _take(self, path: Path, folder: str) -> None:
        self._taken.add((folder, composed(path.name)))
        if stem := self.left_out_stem(path):
            del self._left_out[stem]

    def left_out_stem(self, path: Path) -> str | None:
        """Return the stem of an image that could not be counted, if it has one."""
        return next((stem for stem, each in self._left_out.items() if each.is_of(path)), None)

    def leave_out(self, stem: str, path: Path, name: str, flags: tuple[str, ...]) -> None:
        """Give an image that cannot be counted its rows, until its file is looked at again."""
        image = CountedImage(name, 0, 0, (), "none", flags=flags)
        rows = tuple(rows_of(image, self._classes))
        self._left_out[stem] = LeftOut(path.name, _folder_of(path), rows)

    def write(self) -> None:
        """Write the table of all images, and the state from which a second call goes on."""
        began_s = monotonic()
        rows = [row for entry in self.entries.values() for row in entry.rows]
        left_out = [row for each in self._left_out.values() for row in each.rows]
        write_whole(self._out / TABLE, table_of(rows + left_out))
        self._keep()
        ended_s = monotonic()
        self._is_behind = False
        self._rests_until_s = ended_s + REST * (ended_s - began_s)

    def _keep(self) -> None:
        images = {stem: vars(entry) for stem, entry in self.entries.items()}
        left_out = {stem: vars(each) for stem, each in self._left_out.items()}
        values = {"how": dict(self._how), "images": images, "left out": left_out}
        kept = json.dumps(values)
        write_whole(self._out / KEPT, kept.encode())


def _read(path: Path) -> tuple[Mapping[str, object], dict[str, CountedFile], dict[str, LeftOut]]:
    try:
        kept = json.loads(path.read_text("utf-8"))
        entries = {stem: CountedFile.from_json(values) for stem, values in kept["images"].items()}
        left_out = {stem: LeftOut.from_json(each) for stem, each in kept["left out"].items()}
        there = {stem: each for stem, each in left_out.items() if not each.is_gone}
        return dict(kept["how"]), entries, there
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadRequest(
            f"{path} does not say what was counted ({error!r}): give another --out."
        ) from error
