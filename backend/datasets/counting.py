"""The counts of many images, kept image by image: what is done stays, and a second call goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from backend.datasets.counts import CountedImage, rows_of, table_of
from backend.datasets.naming import COUNTED, composed
from backend.datasets.reading import left_out_flag
from backend.datasets.writing import require_as_begun, require_empty, write_whole
from backend.errors import BadRequest

TABLE, KEPT = "counts.csv", COUNTED
#: After each write none follows for so many times as long as it took.
REST = 20

Row = tuple[object, ...]


@dataclass(frozen=True)
class Entry:
    """One image that is counted.

    Parameters
    ----------
    file, sha256
        Name and hash of the raw file, by which the image is known again.
    rows
        Its rows of the table.
    """

    file: str
    sha256: str
    cells: int
    flags: tuple[str, ...]
    rows: tuple[Row, ...]

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Entry:
        rows = tuple(tuple(row) for row in values["rows"])
        return cls(**{**values, "rows": rows, "flags": tuple(values["flags"])})


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
        self.entries: dict[str, Entry] = {}
        #: Rows of the images that cannot be counted, by the composed name of their files.
        self._left_out: dict[str, list[Row]] = {}
        if (out / KEPT).exists():
            began, self.entries, self._left_out = _read(out / KEPT)
        else:
            require_empty(out)
        if self.entries:
            require_as_begun(out / TABLE, began, how)
        self._waiting = list(self.entries)
        self._is_behind, self._rests_until_s = False, 0.0

    def claim(self, file: str, sha256: str | None = None) -> str | None:
        """Return the stem of an image that is counted, None for a new one; each stem but once.

        Parameters
        ----------
        sha256
            None: the file cannot be read, and is known by its name alone.
        """
        for stem in self._waiting:
            entry = self.entries[stem]
            if composed(entry.file) == composed(file) and sha256 in (None, entry.sha256):
                self._waiting.remove(stem)
                return stem
        return None

    def replaced(self) -> list[str]:
        """Return the stems of earlier images whose file holds another content now."""
        file_of = {stem: composed(entry.file) for stem, entry in self.entries.items()}
        taken = {file for stem, file in file_of.items() if stem not in self._waiting}
        return [stem for stem in self._waiting if file_of[stem] in taken]

    def begin(self) -> None:
        """Make the folder one that a second call goes on with, before anything else is in it."""
        if not (self._out / KEPT).exists():
            self._keep()

    def add(self, stem: str, file: str, sha256: str, image: CountedImage) -> Entry:
        """Count an image, all files of which are there."""
        rows = tuple(rows_of(image, self._classes))
        entry = Entry(file, sha256, len(image.boxes), image.flags, rows)
        self.entries[stem] = entry
        self._is_behind = True
        if monotonic() >= self._rests_until_s:
            self.write()
        return entry

    def catch_up(self) -> None:
        """Write what is not written yet."""
        if self._is_behind:
            self.write()

    def forget_left_out(self, file: str) -> None:
        """Forget the rows of a file that could not be counted: it is looked at anew."""
        self._left_out.pop(composed(file), None)

    def leave_out(self, file: str, name: str, why: str) -> None:
        """Give an image that cannot be counted its rows, until its file is looked at anew."""
        image = CountedImage(name, 0, 0, (), "none", flags=(left_out_flag(why),))
        self._left_out.setdefault(composed(file), []).extend(rows_of(image, self._classes))

    def write(self) -> None:
        """Write the table of all images, and what a second call goes on from."""
        began_s = monotonic()
        rows = [row for entry in self.entries.values() for row in entry.rows]
        left_out = [row for each in self._left_out.values() for row in each]
        write_whole(self._out / TABLE, table_of(rows + left_out))
        self._keep()
        ended_s = monotonic()
        self._is_behind = False
        self._rests_until_s = ended_s + REST * (ended_s - began_s)

    def _keep(self) -> None:
        images = {stem: vars(entry) for stem, entry in self.entries.items()}
        values = {"how": dict(self._how), "images": images, "left out": self._left_out}
        kept = json.dumps(values)
        write_whole(self._out / KEPT, kept.encode())


def _read(path: Path) -> tuple[Mapping[str, object], dict[str, Entry], dict[str, list[Row]]]:
    try:
        kept = json.loads(path.read_text("utf-8"))
        entries = {stem: Entry.from_json(values) for stem, values in kept["images"].items()}
        left_out = {
            file: [tuple(row) for row in rows] for file, rows in kept.get("left out", {}).items()
        }
        return dict(kept["how"]), entries, left_out
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadRequest(
            f"{path} does not say what was counted ({error!r}): give another --out."
        ) from error
