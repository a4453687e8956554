"""Writes what a version finds in image files, for people and for tools."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from backend.datasets.counting import TABLE, CountedFile, Counts
from backend.datasets.counts import CountedImage
from backend.datasets.drawing import draw_boxes
from backend.datasets.naming import UniqueNames, composed, shown, why_unwritable
from backend.datasets.pictures import write_picture
from backend.datasets.rawfiles import is_known_turned, turned_note
from backend.datasets.reading import ImageReader, left_out_flag, page_flags
from backend.datasets.result_folder import ANNOTATIONS, alone_in
from backend.datasets.voc import write_voc
from backend.errors import BadRequest
from model.boxes import CELL
from model.judging.policy import Policy
from model.looking.loaded import LoadedVersion
from model.looking.magnification import UNLIKE_SIZE
from model.looking.noise import NOISY
from model.progress import Advance, OnTile, ignore_advance, tiles_of
from model.wording import LIMIT_REACHED, Naming, counted, first_of, limits_in_words, shortened
from preprocessing.images import ImageRecord
from preprocessing.prepare import (
    CONSTANT,
    FEW_LEVELS,
    OUT_OF_FOCUS,
    SIZE_UNKNOWN,
    UNLIKE_TRAINING,
)

DRAWN = "drawn"
#: How the flag of an image that is counted twice begins.
SAME_FILE = "same file as "
#: How the flag of an image that is not named like its file begins.
PLACE = "from "
#: What an image's own flags mean to whoever counts its cells.
UNUSUAL = {
    UNLIKE_TRAINING: "grey levels unlike all that the version learned from",
    OUT_OF_FOCUS: "far less sharp than what the version learned from",
    UNLIKE_SIZE: "cells far larger or smaller than those that the version learned from",
    NOISY: "more noise than the version learned to see through",
    SIZE_UNKNOWN: "how large the cells are was not found; --cell-diameter tells it",
    CONSTANT: "a single grey level",
    FEW_LEVELS: "too few grey levels to see all cells; count the image as the camera took it",
}


@dataclass(frozen=True)
class Predicted:
    """What was written, and notes on it: what was left out, and limits reached.

    Parameters
    ----------
    images, before
        The number of counted images, and how many of these an earlier call had counted.
    left_out
        The number of images that cannot be read or at which the detector failed.
    others
        The number of further images in the table, from earlier calls.
    """

    images: int
    before: int
    left_out: int
    cells: int
    notes: tuple[str, ...]
    others: int = 0


def predict_into(
    out: Path,
    files: Sequence[Path],
    loaded: LoadedVersion,
    default_class: str = "",
    scores: bool = False,
    advance: Advance = ignore_advance,
    unnamed: Sequence[Path] = (),
) -> Predicted:
    """Write each image's VOC file, its picture with boxes, and the counts of all.

    An image that an earlier call counted stays as it is as long as its VOC file exists. If this
    call is stopped, what is done stays too.

    Parameters
    ----------
    out
        A new or empty folder, so that no annotations of the user are ever overwritten, or a folder
        that an earlier call began with the same choices.
    default_class
        The class of the boxes of a version that knows no classes.
    advance
        Called with the fraction done and the name of the image, of a large one also with its tile.
    unnamed
        Files left out because their name cannot be written; each still gets its row.

    Raises
    ------
    BadRequest
        ``out`` holds other files, was begun with other choices or is being written by another
        process, or no image can be looked at.
    """
    with alone_in(out):
        results = _Results(out, loaded, default_class, scores)
        try:
            for done, path in enumerate(files):
                advance(done / len(files), path.name)
                results.take(path, tiles_of(advance, path.name, done, len(files)))
            results.leave_out_unnamed(unnamed)
        finally:
            results.catch_up()
        return results.told()


class _Results:
    """The folder of results, which takes one image after the other."""

    def __init__(self, out: Path, loaded: LoadedVersion, default_class: str, scores: bool) -> None:
        classes = loaded.version.classes or (default_class or CELL,)
        how = {
            "version": loaded.version.id,
            "threshold": loaded.version.threshold,
            "cell diameter": loaded.cell_diameter_px,
            "classes": list(classes),
            "scores": scores,
        }
        self._out, self._loaded = out, loaded
        report = loaded.version.report
        self._judged = report.counts_without(set(loaded.version.lineage)) if report else {}
        self._default_class, self._scores = default_class, scores
        self._counts = Counts(out, how, classes)
        entries = self._counts.entries
        #: By sha256, the stem under which each file was counted first.
        self._first_of = {entry.sha256: stem for stem, entry in reversed(entries.items())}
        self._names = UniqueNames(self._counts.stems)
        self._notes, self._entries, self._before = list[str](), list[CountedFile](), 0
        self._reader, self._turned = ImageReader(), list[str]()
        #: The stems of the images at which the detector failed.
        self._failed: dict[Path, str] = {}
        self._limited = defaultdict[str, list[str]](list)
        self._unusual = defaultdict[str, list[str]](list)
        self._twins = list[str]()

    def take(self, path: Path, on_tile: OnTile) -> None:
        """Look at an image unless it is done; a note names one that cannot be read or looked at."""
        if (record := self._reader.read(path)) is None:
            return
        stem = self._counts.claim(path, record.sha256)
        if stem and _voc(self._out, stem).exists():
            self._before += 1
            entry = self._counts.entries[stem]
        else:
            stem = stem or self._new_stem(path)
            try:
                entry = self._find(stem, path, record, on_tile)
            except (RuntimeError, MemoryError) as error:  # of the detector, such as a full memory
                said = str(error).partition("\n")[0] or type(error).__name__
                self._reader.left_out[path] = (
                    f"the detector failed on it ({said}); end other programs where memory is"
                    " short, and call again"
                )
                self._failed[path] = stem
                return
        name = self._named(path, stem)
        self._entries.append(entry)
        if is_known_turned(path):
            self._turned.append(name)
        for flag in entry.flags:
            if flag.startswith(LIMIT_REACHED):
                self._limited[flag].append(name)
            elif flag in UNUSUAL:
                self._unusual[flag].append(name)
            elif flag.startswith(SAME_FILE):
                self._twins.append(f"{name} ({flag.removeprefix(SAME_FILE)})")

    def catch_up(self) -> None:
        """Write the counts of what is done."""
        self._counts.catch_up()

    def _leave_out(self, path: Path, stem: str | None) -> None:
        """Give a left-out image its rows, unless an earlier call counted it."""
        if stem in self._counts.entries:
            return
        why = self._reader.left_out[path]
        if stem is None and self._counts.claim(path) is not None:
            stays = "it cannot be read any more; its earlier count stays"
            self._reader.left_out[path] = f"{stays} ({why})"
            return
        stem = stem or self._new_stem(path)
        flags = (left_out_flag(why), *_flag_of_place(stem, path))
        self._counts.leave_out(stem, path, self._named(path, stem), flags)

    def leave_out_unnamed(self, paths: Iterable[Path]) -> None:
        """Give images whose name cannot be written their rows, under their printable name."""
        for path in paths:
            name = shown(path.name)
            writable = name.replace("\\", "_")
            stem = self._counts.left_out_stem(path) or self._names.stem(writable)
            why = why_unwritable(path.name).partition(":")[0]
            self._counts.leave_out(stem, path, name, (left_out_flag(why),))

    def _new_stem(self, path: Path) -> str:
        """Return a stem for an image not counted yet; its row may already have one."""
        return self._counts.left_out_stem(path) or self._names.stem(path.name)

    def _named(self, path: Path, stem: str) -> str:
        """Return an image's name in the results, and note if it differs from its file's."""
        name = f"{stem}{path.suffix}"
        if _is_renamed(stem, path):
            self._notes.append(f"{path} is called {name} in {self._out}: {_why_renamed(path)}")
        return name

    def _find(self, stem: str, path: Path, record: ImageRecord, on_tile: OnTile) -> CountedFile:
        name = f"{stem}{path.suffix}"
        image = _count(record, name, self._loaded, self._default_class, on_tile)
        flags = self._flag_of_twin(stem, record.sha256) + image.flags + _flag_of_place(stem, path)
        image = replace(image, flags=flags, judged=self._judged)
        self._counts.begin()
        _write(self._out, stem, record, image, self._scores)
        return self._counts.add(stem, path, record.sha256, image)

    def _flag_of_twin(self, stem: str, sha256: str) -> tuple[str, ...]:
        """Return the flag of an image whose file was already counted under another name."""
        first = self._first_of.setdefault(sha256, stem)
        if first == stem:
            return ()
        return (f"{SAME_FILE}{first}{Path(self._counts.entries[first].file).suffix}",)

    def _tell_missed(self) -> None:
        """Flag and note what an earlier call counted and this one should have found again."""
        replaced, gone = self._counts.flag_missed()
        for stem in replaced:
            self._notes.append(
                f"{self._counts.entries[stem].file} holds another image than an earlier call"
                f" counted: {TABLE} has both, the earlier one as {stem}, flagged. Give another"
                " --out to count this alone"
            )
        if gone:
            told = f"no longer there, counted by an earlier call and flagged in {TABLE}: "
            files = [self._counts.entries[stem].file for stem in gone]
            self._notes.append(Naming.of(files, before=told))

    def told(self) -> Predicted:
        """Return what became of the images taken."""
        for path in self._reader.left_out:  # all others have their name and count by now
            self._leave_out(path, self._failed.get(path))
        self._tell_missed()
        if self._counts.entries:
            self._counts.write()
        if not self._entries:
            words = ["None of the images can be looked at:", *first_of(self._reader.notes)]
            raise BadRequest("\n  ".join(words))
        limits = [f"{shortened(names)}: {limit}" for limit, names in self._limited.items()]
        told = (*_twins_note(self._twins), *_unusual_notes(self._unusual), *limits)
        notes = (*self._reader.notes, *told, *turned_note(self._turned), *self._notes)
        images, cells = len(self._entries), sum(entry.cells for entry in self._entries)
        others = len(self._counts.entries) - images
        return Predicted(images, self._before, len(self._reader.left_out), cells, notes, others)


def _is_renamed(stem: str, path: Path) -> bool:
    return composed(f"{stem}{path.suffix}") != composed(path.name)


def _why_renamed(path: Path) -> str:
    if _is_renamed(UniqueNames().stem(path.name), path):
        return "there its own name cannot be used"
    return "there its own name is taken, or one too much like it"


def _flag_of_place(stem: str, path: Path) -> tuple[str, ...]:
    """Return the flag with the place of an image's file, if the image has another name here."""
    return (f"{PLACE}{shown(str(path))}",) if _is_renamed(stem, path) else ()


def _twins_note(twins: Sequence[str]) -> list[str]:
    what = "counted again, each the same file as the one in brackets"
    return [Naming.of(twins, before=f"{what}: ")] if twins else []


def _unusual_notes(unusual: Mapping[str, Sequence[str]]) -> list[str]:
    return [
        Naming.of(names, before=f"{counted(len(names), 'image')} {flag} ({UNUSUAL[flag]}): ")
        for flag, names in unusual.items()
    ]


def _count(
    record: ImageRecord, name: str, loaded: LoadedVersion, default_class: str, on_tile: OnTile
) -> CountedImage:
    found = loaded.find([record], default_class, on_tile)[0]
    policy = Policy.of(loaded.version)
    limits = limits_in_words(policy.caps_reached(found.detections))
    return CountedImage(
        name=name,
        width=record.width,
        height=record.height,
        boxes=tuple(policy.shown(found.detections).boxes()),
        source="predicted",
        model_version=loaded.version.id,
        flags=(*page_flags(record), *found.flags, *limits),
    )


def _voc(out: Path, stem: str) -> Path:
    return out / ANNOTATIONS / f"{stem}.xml"


def _write(out: Path, stem: str, record: ImageRecord, image: CountedImage, scores: bool) -> None:
    write_voc(_voc(out, stem), image.name, *record.size, depth=1, boxes=image.boxes)
    write_picture(out / DRAWN / f"{stem}.png", draw_boxes(record.pixels, image.boxes, scores))
