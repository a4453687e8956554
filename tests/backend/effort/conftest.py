from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from backend.actions import Actions
from backend.labelstudio.annotation import Annotation
from backend.labelstudio.interface import LabellingInterface
from backend.labelstudio.results import to_regions
from backend.services import Services
from backend.store.corrections import Correction
from backend.store.predictions import StoredPrediction
from model.boxes import Box
from preprocessing.images import encode_png

WIDTH, HEIGHT = 200, 100
#: Served first, corrected later: predictions are stamped with the present moment.
LATER = timedelta(minutes=10)
NOW = datetime(2026, 11, 26, tzinfo=UTC)


@pytest.fixture
def write(services: Services, project: int) -> Callable[..., list[dict[str, Any]]]:
    """Return a function that writes boxes of the test's images as regions."""
    interface = LabellingInterface.parse(services.projects.get(project).label_config)
    return lambda *boxes: to_regions(boxes, WIDTH, HEIGHT, interface)


@pytest.fixture
def serve(services: Services, project: int, write: Any) -> Callable[..., list[dict[str, Any]]]:
    """Return a function that serves boxes on a task and returns their regions."""

    def show(
        task: int,
        *boxes: Box,
        served: str = "classical-1+t0.5",
        group: str = "low",
        ago: timedelta = timedelta(),
    ) -> Any:
        pixels = np.full((HEIGHT, WIDTH), task, np.uint8)
        sha256 = services.images.keep(encode_png(pixels))
        services.images.add(project, sha256, 0, f"image{task}.png", WIDTH, HEIGHT)
        services.images.attach_task(project, sha256, 0, task)
        regions = write(*boxes)
        services.predictions.put(
            StoredPrediction(
                project,
                task,
                sha256,
                0,
                served,
                regions,
                score=0.5,
                contrast_group=group,
                created_at=datetime.now(UTC) - ago,
            )
        )
        return regions

    return show


@pytest.fixture
def submit(services: Services, project: int) -> Callable[..., Annotation]:
    """Return a function that submits regions; by default with a parent prediction, after 30 s."""

    def send(
        task: int, regions: Sequence[dict[str, Any]], minute: int = 0, **fields: Any
    ) -> Annotation:
        at = datetime.now(UTC) + LATER
        values: dict[str, Any] = {"lead_time": 30.0, "parent_prediction": 1, "annotator": "ada"}
        annotation = Annotation(100 + task, project, task, tuple(regions), at, at)
        annotation = replace(
            annotation, updated_at=at + timedelta(minutes=minute), **(values | fields)
        )
        services.annotations.record(annotation)
        return annotation

    return send


def cell(x: float, y: float = 10, side: float = 20, label: str = "Cell") -> Box:
    return Box(x, y, x + side, y + side, label, 0.9)


def correction(task: int, cells: int, seconds: float | None = None, **fields: Any) -> Correction:
    """Return what one annotation did; by default it left all of its boxes as they were served."""
    told = (100 + task, 1, task, NOW, "ada", "prediction", "v1+t0.5", "low")
    made = Correction(*told, Actions(kept=cells), cells, totals_s=(seconds,) if seconds else ())
    return replace(made, **fields)
