"""Reads images one after the other, and collects notes on those left out."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from model.wording import Naming, counted
from preprocessing.errors import UnreadableImage
from preprocessing.images import ImageRecord, read_image

#: How many images left out for one reason a note names.
LEFT_OUT_NAMED = 20


class ImageReader:
    """Reads one image after the other, and keeps the notes on them."""

    def __init__(self) -> None:
        #: Why an image is left out, by its path.
        self.left_out: dict[Path, str] = {}
        self._stacks: list[str] = []

    def read(self, path: Path) -> ImageRecord | None:
        """Read the first page of an image; None if it cannot be read and is left out."""
        try:
            record = read_image(path)
        except UnreadableImage as error:
            self.left_out[path] = str(error).removeprefix(f"{path.name}: ")
            return None
        if record.pages > 1:
            self._stacks.append(path.name)
        return record

    @property
    def notes(self) -> list[str]:
        """Notes on what was left out, and on files of which only the first page was taken."""
        names = defaultdict[str, list[str]](list)
        for path, why in self.left_out.items():
            names[why].append(path.name)
        notes: list[str] = [
            Naming.of(each, after=f" left out: {why}", most=LEFT_OUT_NAMED)
            for why, each in names.items()
        ]
        if stacks := self._stacks:
            several = f"{counted(len(stacks), 'image')} with several pages, of which the first is"
            notes.append(Naming.of(stacks, before=f"{several} taken: "))
        return notes


def left_out_flag(why: str) -> str:
    """Return the flag of a left-out image: only the cause, since advice is for the caller."""
    return f"left out: {why.partition(';')[0]}"


def page_flags(record: ImageRecord) -> tuple[str, ...]:
    """Return the flag of a multi-page file, of which only the first page is looked at."""
    return (f"first of {record.pages} pages",) if record.pages > 1 else ()
