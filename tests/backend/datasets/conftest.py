"""Small images and VOC files on disk or in a project, and a minimal Label Studio to import to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image

from backend.datasets.voc import write_voc
from backend.errors import LabelStudioMissing
from backend.labelstudio.annotation import Annotation
from backend.labelstudio.interface import LabellingInterface
from backend.labelstudio.results import to_regions
from backend.services import Services
from backend.store.predictions import StoredPrediction
from model.boxes import Box
from preprocessing.tiff import ORIENTATION_TAG

WIDTH, HEIGHT = 64, 48
CELL = Box(4.4, 5.4, 20.3, 25.2, "Cell")
NOW = datetime(2026, 11, 24, tzinfo=UTC)


@st.composite
def drawn_boxes(draw: st.DrawFn, size: tuple[int, int], labels: Sequence[str] = ("N",)) -> Box:
    """Draw a box of two pixels a side at the least, in an image of this width and height."""
    xmin, ymin = (draw(st.floats(0, side - 3)) for side in size)
    xmax, ymax = draw(st.floats(xmin + 2, size[0])), draw(st.floats(ymin + 2, size[1]))
    return Box(xmin, ymin, xmax, ymax, draw(st.sampled_from(labels)))


@pytest.fixture
def save_image() -> Callable[..., Path]:
    """Write a small image whose content depends on ``seed``; the suffix is its format."""

    def save(path: Path, seed: int = 0, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        levels = np.random.default_rng(seed).integers(0, 256, size[::-1], dtype=np.uint8)
        Image.fromarray(levels).save(path)
        return path

    return save


@pytest.fixture
def save_turned() -> Callable[..., Path]:
    """Write a small image that its orientation tag turns by a quarter."""

    def save(path: Path) -> Path:
        exif = Image.Exif()
        exif[ORIENTATION_TAG] = 6
        Image.fromarray(np.zeros((WIDTH, HEIGHT), np.uint8)).save(path, exif=exif)
        return path

    return save


@pytest.fixture
def save_voc() -> Callable[..., Path]:
    """Write a VOC file for an image of the size that ``save_image`` makes."""

    def save(path: Path, boxes: Sequence[Box] = (), name: str = "") -> Path:
        write_voc(path, name or f"{path.stem}.png", WIDTH, HEIGHT, 1, boxes)
        return path

    return save


class MemoryLabelStudio:
    """Tasks and annotations in memory, as Label Studio answers; the e2e test has the real one.

    It opens no task: for a task without boxes the real one would ask the web process.
    """

    def __init__(self) -> None:
        self.shown: dict[int, bytes] = {}
        self.kept: dict[int, dict[str, Any]] = {}
        self.label_config = ""

    def tasks(self, project: int) -> Iterator[dict[str, Any]]:
        yield from self.kept.values()

    def listed_task(self, project: int, id: int) -> dict[str, Any]:
        if id not in self.kept or self.kept[id].get("project", project) != project:
            raise LabelStudioMissing(f"Project {project} has no task {id}.")
        return self.kept[id]

    def import_task(self, project: int, png: bytes, name: str, data: dict[str, Any]) -> int:
        id = max(self.shown, default=0) + 1
        self.shown[id] = png
        self.kept[id] = {"id": id, "data": {"image": f"/{name}", **data}, "annotations": []}
        return id

    def create_annotation(self, task: int, regions: Sequence[dict[str, Any]]) -> int:
        when = "2026-11-24T16:00:00Z"
        made = {"id": 100 + task, "result": list(regions), "created_at": when, "updated_at": when}
        self.kept[task]["annotations"].append(made)
        return 100 + task

    def patch_project(self, id: int, label_config: str) -> None:
        self.label_config = label_config


@pytest.fixture
def label_studio(services: Services) -> MemoryLabelStudio:
    """The Label Studio of ``services``, in memory."""
    away: Any = services.__dict__  # where cached_property keeps it; the dataclass is frozen
    away["label_studio"] = MemoryLabelStudio()
    return services.label_studio  # type: ignore[return-value]


@pytest.fixture
def interface(services: Services, project: int) -> LabellingInterface:
    return LabellingInterface.parse(services.projects.get(project).label_config)


@pytest.fixture
def put(
    services: Services,
    project: int,
    tmp_path: Path,
    save_image: Callable[..., Path],
    interface: LabellingInterface,
) -> Callable[..., str]:
    """Put an image into the project: its boxes corrected, predicted, or unknown (None)."""

    def put_one(
        task: int,
        name: str,
        corrected: Sequence[Box] | None = None,
        predicted: Sequence[Box] | None = None,
        data: bytes = b"",
        page: int = 0,
    ) -> str:
        path = save_image(tmp_path / "raw" / f"{task}{Path(name).suffix}", seed=task)
        sha256 = services.images.keep(data or path.read_bytes())
        services.images.add(project, sha256, page, name, WIDTH, HEIGHT)
        services.images.attach_task(project, sha256, page, task)
        if predicted is not None:
            regions = to_regions(predicted, WIDTH, HEIGHT, interface)
            services.predictions.put(
                StoredPrediction(project, task, sha256, page, "v1+0.5", regions, score=0.5)
            )
        if corrected is not None:
            result = tuple(to_regions(corrected, WIDTH, HEIGHT, interface))
            services.annotations.record(
                Annotation(task, project, task, result, NOW, NOW, annotator="1", lead_time=9.0)
            )
        return sha256

    return put_one
