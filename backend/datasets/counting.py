"""The counts of many images, kept image by image: what is done stays, and a second call goes on."""

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
#: After each write none follows for so many times as long as it took.
REST = 20
#: Flags of an image whose file holds another one by now, or is gone from its folder.
REPLACED, GONE = "file replaced since", "file gone since"

Row = tuple[object, ...]


@dataclass(frozen=True)
class CountedFile:
    """One image that is counted.

    Parameters
    ----------
    file, folder, sha256
        Name, place and hash of the raw file, by which the image is known again.
    rows
        Its rows of the table.
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
        """Return it with the flag of what became of its file, or with none."""
        flags = (*(flag for flag in self.flags if flag not in (REPLACED, GONE)), *became)
        return replace(self, flags=flags, rows=tuple(flagged(row, flags) for row in self.rows))

    @property
    def is_there(self) -> bool:
        """Whether there is a file at its place."""
        return _is_there(self.folder, self.file)


@dataclass(frozen=True)
class LeftOut:
    """One image that cannot be counted, until its file is looked at anew or gone."""

    file: str
    folder: str
    rows: tuple[Row, ...]

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> LeftOut:
        return cls(**{**values, "rows": _rows(values)})

    def is_of(self, path: Path) -> bool:
        """Tell whether it is of this file, which may have been moved since."""
        if composed(self.file) != composed(path.name):
            return False
        return self.folder == _folder_of(path) or not _is_there(self.folder, self.file)

    @property
    def is_gone(self) -> bool:
        """Whether its folder is there without it, such as after it was renamed."""
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
    return os.path.realpath(path.parent)  # unlike pathlib's, it takes links that lead in a circle


class Counts:
    """The table of counts in a folder of results, and beside it what a second call goes on from.

    Both are written anew with each image, the table first; where that takes long, more rarely. What
    a killed call had not written is counted again.

    Parameters
    ----------
    out
        New or empty, or begun by a call that was asked for the same.
    how
        What was asked for, by name.
    classes
        Those that each image gets a row for.

    Raises
    ------
    BadRequest
        ``out`` holds something else, or began otherwise.
    """

    def __init__(self, out: Path, how: Mapping[str, object], classes: Sequence[str]) -> None:
        self._out, self._how, self._classes = out, how, classes
        #: By the stem that the image has in the folder.
        self.entries: dict[str, CountedFile] = {}
        #: By the stem of the name that the image has in the table.
        self._left_out: dict[str, LeftOut] = {}
        if (out / KEPT).exists():
            began, self.entries, self._left_out = _read(out / KEPT)
        else:
            require_empty(out)
        if self.entries:
            require_as_begun(out / TABLE, began, how)
        #: The stems of earlier calls' images that this one has not taken, by names of files.
        self._waiting = defaultdict[str, list[str]](list)
        for stem, entry in self.entries.items():
            self._waiting[composed(entry.file)].append(stem)
        #: Folder and name of each file that this call has taken.
        self._taken = set[tuple[str, str]]()
        self._is_behind, self._rests_until_s = False, 0.0

    @property
    def stems(self) -> list[str]:
        """The stems that are given to images, counted or not."""
        return [*self.entries, *self._left_out]

    def claim(self, path: Path, sha256: str | None = None) -> str | None:
        """Return the stem of an image that is counted, None for a new one; each stem but once.

        Parameters
        ----------
        sha256
            None: the file cannot be read, and is known by its place alone.
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
        """Flag earlier images whose file holds another one now, or is gone, as far as was looked.

        Returns
        -------
        The stems of either.
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
        """Make the folder one that a second call goes on with, before anything else is in it."""
        if not (self._out / KEPT).exists():
            self._keep()

    def add(self, stem: str, path: Path, sha256: str, image: CountedImage) -> CountedFile:
        """Count an image, all files of which are there."""
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
        """Return the stem that an image has by now that could not be counted."""
        return next((stem for stem, each in self._left_out.items() if each.is_of(path)), None)

    def leave_out(self, stem: str, path: Path, name: str, flags: tuple[str, ...]) -> None:
        """Give an image that cannot be counted its rows, until its file is looked at anew."""
        image = CountedImage(name, 0, 0, (), "none", flags=flags)
        rows = tuple(rows_of(image, self._classes))
        self._left_out[stem] = LeftOut(path.name, _folder_of(path), rows)

    def write(self) -> None:
        """Write the table of all images, and what a second call goes on from."""
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
