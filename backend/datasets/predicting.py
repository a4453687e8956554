"""What a version finds in image files, written beside one another for a person and for tools."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from backend.datasets.counts import CountedImage, counts_csv
from backend.datasets.drawing import draw_boxes
from backend.datasets.folder import read_record
from backend.datasets.naming import UniqueNames
from backend.datasets.pairing import find_images
from backend.datasets.voc import write_voc
from backend.datasets.writing import require_empty, write_whole
from backend.errors import BadRequest
from model.loaded import LoadedVersion
from model.policy import Policy
from model.wording import LIMIT_REACHED, first_of
from preprocessing.images import ImageRecord

ANNOTATIONS, DRAWN, COUNTS = "annotations", "drawn", "counts.csv"


@dataclass(frozen=True)
class Predicted:
    """What was written, and what to know of it: what could not be read, limits reached.

    Parameters
    ----------
    images, left_out
        How many were looked at, and how many could not be read.
    """

    images: int
    left_out: int
    cells: int
    notes: tuple[str, ...]


def gather(paths: Iterable[Path]) -> list[Path]:
    """Return the image files that the paths name: files as they are, of folders their images.

    Raises
    ------
    BadRequest
        A path is not there, or a folder is without images.
    """
    files: dict[Path, Path] = {}
    for path in paths:
        for file in [path] if path.is_file() else find_images(path):
            files.setdefault(file.resolve(), file)
    return list(files.values())


def predict_into(
    out: Path,
    files: Sequence[Path],
    loaded: LoadedVersion,
    default_class: str = "",
    scores: bool = False,
    advance: Callable[[float, str], None] | None = None,
) -> Predicted:
    """Write each image's VOC file, its picture with boxes, and the counts of all.

    Parameters
    ----------
    out
        A new or empty folder, so that nobody's own annotations are ever overwritten.
    default_class
        What to call the boxes of a version that knows no classes.
    advance
        Called with the fraction done and the name of the image.

    Raises
    ------
    BadRequest
        ``out`` holds something, or no image can be read.
    """
    require_empty(out)
    names, notes, counted = UniqueNames(), list[str](), list[CountedImage]()
    for done, path in enumerate(files):
        if advance:
            advance(done / len(files), path.name)
        if (record := read_record(path, notes)) is not None:
            stem = names.stem(path.name)
            if (name := f"{stem}{path.suffix}") != path.name:
                notes.append(f"{path} is called {name} in {out}: there its own name cannot be used")
            counted.append(_count(record, name, loaded, default_class))
            _write(out, stem, record, counted[-1], scores)
            limits = [flag for flag in counted[-1].flags if flag.startswith(LIMIT_REACHED)]
            notes += [f"{path.name}: {limit}" for limit in limits]
    if not counted:
        raise BadRequest("\n  ".join(["None of the images can be read:", *first_of(notes)]))
    classes = loaded.version.classes or tuple({b.label: 0 for c in counted for b in c.boxes})
    write_whole(out / COUNTS, counts_csv(counted, classes).encode())
    cells = sum(len(image.boxes) for image in counted)
    return Predicted(len(counted), len(files) - len(counted), cells, tuple(notes))


def _count(
    record: ImageRecord, name: str, loaded: LoadedVersion, default_class: str
) -> CountedImage:
    found = loaded.find([record], default_class=default_class)[0]
    return CountedImage(
        name=name,
        width=record.width,
        height=record.height,
        boxes=tuple(Policy.of(loaded.version).shown(found.detections).boxes()),
        source="predicted",
        model_version=loaded.version.id,
        flags=found.flags,
    )


def _write(out: Path, stem: str, record: ImageRecord, counted: CountedImage, scores: bool) -> None:
    size = record.width, record.height
    voc = out / ANNOTATIONS / f"{stem}.xml"
    write_voc(voc, counted.name, *size, depth=1, boxes=counted.boxes)
    write_whole(out / DRAWN / f"{stem}.png", draw_boxes(record.pixels, counted.boxes, scores))
