"""Packs the files of a VOC export into a folder or a zip."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from backend.datasets.drawn import EDGES
from backend.datasets.known_image import KnownImage
from backend.datasets.rawfiles import page_as_tiff, told_of, turned_note
from backend.datasets.result_folder import ANNOTATIONS, EXPORTED
from backend.datasets.voc import voc_bytes
from backend.datasets.writing import as_csv, partial_file, partial_folder
from backend.errors import BadRequest, NotFound
from backend.services import Services
from preprocessing.errors import UnreadableImage

IMAGES = "images"
#: Lists boxes that look wrong to the label guard, which are still exported, and drawn regions that
#: cannot be exported.
WARNINGS = "warnings.csv"
UNUSABLE = "unusable"
WARNING_COLUMNS = ("image", "class", *EDGES, "reason", "why")

#: A path inside the export, and its content: bytes, or a file to copy.
Member = tuple[str, bytes | Path]


class Files:
    """The files of one export; making them may add to its notes."""

    def __init__(
        self,
        services: Services,
        project: int,
        one_based: bool,
        with_images: bool,
        notes: Sequence[str],
    ) -> None:
        self._services = services
        self._project = project
        self._one_based = one_based
        self._with_images = with_images
        self.notes = list(notes)
        self._turned = list[str]()

    def of(self, images: Iterable[KnownImage], left_out: Iterable[KnownImage]) -> Iterator[Member]:
        """Yield each VOC file and each image, and at last the record of where all of it came from.

        Parameters
        ----------
        left_out
            Images without a VOC file, since nothing that was drawn can be used.
        """
        contents, odd = list[dict[str, Any]](), list[Sequence[Any]]()
        for image in images:
            name = image.file_name
            channels, raw = self._raw(image)
            size = image.counted.width, image.counted.height
            voc = voc_bytes(name, *size, channels, image.counted.boxes, self._one_based)
            yield f"{ANNOTATIONS}/{PurePosixPath(name).stem}.xml", voc
            if raw and self._with_images:
                yield f"{IMAGES}/{name}", raw
            contents.append(_came_from(image, name))
            odd += _warnings(image)
        for image in left_out:
            odd += _warnings(image)
        if odd:
            yield WARNINGS, as_csv([WARNING_COLUMNS, *odd])
        self.notes += turned_note(self._turned)
        yield EXPORTED, self._contents(contents)

    def _raw(self, image: KnownImage) -> tuple[int, bytes | Path | None]:
        """Return an image's number of channels and its file, None if that is gone or damaged."""
        name, page = image.counted.name, image.stored.page
        try:
            path = self._services.images.path(image.stored.sha256)
            if page:  # comes as a grey TIFF
                return 1, page_as_tiff(path, page) if self._with_images else None
            channels, turned = told_of(path)
        except NotFound:
            self.notes.append(f"{name}: the raw file is gone, only its boxes came")
            return 1, None
        except UnreadableImage:
            self.notes.append(f"{name}: its raw file is damaged, only its boxes came")
            return 1, None
        self._turned += [image.file_name] if turned else []
        return channels, path

    def _contents(self, images: list[dict[str, Any]]) -> bytes:
        values = {
            "project": self._project,
            "coordinates": "1-based, inclusive" if self._one_based else "0-based, half-open",
            "notes": self.notes,
            "images": images,
        }
        return json.dumps(values, indent=1).encode()


def _warnings(image: KnownImage) -> Iterator[Sequence[Any]]:
    for one in image.aside:
        yield _warning(image, one.box.label, one.box.xyxy_px, one.reason, one.why)
    for each in image.unusable:
        edges = each.xyxy_px or ("",) * len(EDGES)
        yield _warning(image, each.label, edges, UNUSABLE, each.why)


def _warning(
    image: KnownImage, label: str, edges: Iterable[float | str], reason: str, why: str
) -> Sequence[Any]:
    rounded = (edge if isinstance(edge, str) else round(edge, 3) for edge in edges)
    return image.file_name, label, *rounded, reason, why


def _came_from(image: KnownImage, name: str) -> dict[str, Any]:
    return {
        "image": name,
        "name": image.counted.name,
        "sha256": image.stored.sha256,
        "page": image.stored.page,
        "source": image.counted.source,
        "model_version": image.counted.model_version,
        "annotator": image.counted.annotator,
        "notes": image.notes,
    }


def pack(out: Path, members: Iterable[Member]) -> None:
    """Put files into a zip or a folder, which appears whole or not at all.

    Parameters
    ----------
    out
        A path that ends in ``.zip`` (an existing file is replaced), or a new or empty folder.

    Raises
    ------
    BadRequest
        ``out`` is a folder that is not empty.
    """
    (_into_zip if out.suffix.lower() == ".zip" else _into_folder)(out, members)


def _into_folder(out: Path, members: Iterable[Member]) -> None:
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise BadRequest(f"{out} is there already: give a new folder, nothing is overwritten.")
    with partial_folder(out) as folder:
        for name, content in members:
            target = folder / name
            target.parent.mkdir(exist_ok=True)
            if isinstance(content, Path):
                shutil.copyfile(content, target)
            else:
                target.write_bytes(content)


def _into_zip(out: Path, members: Iterable[Member]) -> None:
    # A zip has no date before 1980: earlier files, as of an instrument without a clock, get 1980.
    with (
        partial_file(out) as partial,
        zipfile.ZipFile(partial, "w", strict_timestamps=False) as archive,
    ):
        for name, content in members:
            if isinstance(content, Path):  # images are compressed as they are
                archive.write(content, name, compress_type=zipfile.ZIP_STORED)
            else:
                archive.writestr(name, content, compress_type=zipfile.ZIP_DEFLATED)
