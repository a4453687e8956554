import hashlib
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

from model.boxes import Box, Detections
from model.config import DetectorConfig
from model.keeping.registry import Registry
from model.labels.examples import LabelledImage
from model.reports import AveragePrecision, CountReport, EvaluationReport, Stratum
from model.versions import ModelVersion

# How long an example takes says how busy the machine is, nothing about the property.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


def version(name, **fields):
    base = ModelVersion(name, "trained", ("Nucleus",), 0.4, DetectorConfig(scale=0.5))
    return replace(base, **fields)


@pytest.fixture
def registry(tmp_path):
    return Registry(tmp_path / "registry")


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "trained.safetensors"
    path.write_bytes(b"weights" * 1000)
    return path


@pytest.fixture(scope="module")
def one_thread():
    """More threads add in another order; on two cores they gain little at the tests' size."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def labelled():
    """Make a labelled image of boxes; rows of (xmin, ymin, xmax, ymax[, label])."""

    def make(rows, name="a", side="held-out", path=Path("unread.png")):
        boxes = tuple(Box(*map(float, r[:4]), r[4] if len(r) > 4 else "Nucleus") for r in rows)
        content = path.read_bytes() if path.exists() else name.encode()
        sha256 = hashlib.sha256(content).hexdigest()
        return LabelledImage(path, sha256, boxes, side, 0, name)

    return make


@pytest.fixture(scope="session")
def detections():
    """Make detections of rows of (xmin, ymin, xmax, ymax, score[, label])."""

    def make(rows, classes=("Nucleus",)):
        rows = sorted(rows, key=lambda row: -row[4])
        labels = [classes.index(r[5]) if len(r) > 5 else 0 for r in rows]
        edges = np.array([r[:4] for r in rows], np.float32).reshape(-1, 4)
        scores = np.array([r[4] for r in rows], np.float32)
        return Detections(edges, scores, np.array(labels, np.int64), classes)

    return make


@pytest.fixture(scope="session")
def field_of():
    """Make truth and noisy detections of a field: shifted, missed, doubled and invented boxes."""

    def make(rng, cells):
        corners = rng.integers(0, 400, (cells, 2))
        truth = np.concatenate([corners, corners + rng.integers(8, 40, (cells, 2))], axis=1)
        shifted = truth + rng.normal(0, 3, truth.shape)
        guesses = np.concatenate(
            [shifted[rng.random(cells) < 0.8], shifted[: cells // 4], truth[:2]]
        )
        guesses[: cells // 5] += 60
        guesses = guesses[(guesses[:, 2:] > guesses[:, :2]).all(axis=1)]
        # Scores of one decimal, so that many are equal: ties must be broken as COCO breaks them.
        scores = rng.random(len(guesses)).round(1)
        return truth, [(*box, score) for box, score in zip(guesses, scores, strict=True)]

    return make


@pytest.fixture(scope="session")
def report():
    """Make a report with what a test is about; the rest is as of a passable version."""

    def make(
        ap50=0.6,
        count_error=0.2,
        true=100,
        predicted=95,
        recall=0.8,
        images=("a", "b", "c"),
        caps_reached=(),
    ):
        precision = AveragePrecision(ap50, ap50 and ap50 / 2, ap50 and ap50 / 3)
        return EvaluationReport(
            mean=precision,
            any_class=precision,
            by_class={"Nucleus": precision},
            by_group={
                "low": Stratum(
                    12, precision, CountReport(true, predicted, count_error, 0.0, count_error)
                )
            },
            threshold=0.5,
            precision=0.8,
            recall=recall,
            f1=0.8,
            count=CountReport(true, predicted, count_error, 0.0, count_error),
            images=tuple(images),
            caps_reached=tuple(caps_reached),
        )

    return make


@pytest.fixture(scope="session")
def peak_of():
    """Do some work; return what it gives, and how many bytes it held at most."""

    def measure(work):
        tracemalloc.start()
        try:
            return work(), tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    return measure


@pytest.fixture(scope="session")
def cell_images(tmp_path_factory):
    """Make PNG files of bright round cells on a dark, noisy ground, with their true boxes."""
    folder = tmp_path_factory.mktemp("cells")

    def make(count, first_seed=0, side="train", cells=8, shape=(96, 128), label="Nucleus"):
        images = []
        for seed in range(first_seed, first_seed + count):
            path = folder / f"{seed}-{cells}-{shape[0]}x{shape[1]}.png"
            boxes = _draw_cells(path, np.random.default_rng(seed), cells, shape, label)
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
            images.append(LabelledImage(path, sha256, boxes, side, 0, path.name))
        return images

    return make


def _draw_cells(path, rng, cells, shape, label):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    pixels = rng.normal(60, 8, shape)
    boxes = []
    for _ in range(cells):
        radius = int(rng.integers(6, 11))
        x, y = rng.integers(radius, shape[1] - radius), rng.integers(radius, shape[0] - radius)
        pixels[(columns - x) ** 2 + (rows - y) ** 2 <= radius**2] = rng.uniform(130, 200)
        edges = (x - radius, y - radius, x + radius + 1, y + radius + 1)
        boxes.append(Box(*map(float, edges), label))
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path)
    return tuple(boxes)
