import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.real_images import any_cell, real_images, spread
from model.boxes import CELL, iou_matrix
from model.classical.detector import CLASSICAL_ID
from model.config import PRESETS
from model.generated.fields import LOW, MEDIUM, dark_on_bright, generate_field
from model.judging.evaluation import evaluate_version
from model.keeping.registry import Registry
from model.keeping.starter import FOLDER, STARTER_ID, is_shipped
from model.labels.examples import DatasetSnapshot
from model.learning.candidate import make_candidate
from model.looking.tiling import TILE_PX
from model.versions import ModelVersion
from preprocessing.images import ImageRecord
from preprocessing.prepare import SIZE_UNKNOWN

pytestmark = pytest.mark.integration  # each looks with the shipped weights

MOST_BYTES = 15_000_000
DATA = Path(os.environ.get("CYTOLOOP_DATA", "/nonexistent"))


def real(name):
    if not (DATA / name).is_dir():
        pytest.skip(f"CYTOLOOP_DATA with the folder {name} is not set")
    return real_images(name)


@pytest.fixture(scope="module")
def starter(tmp_path_factory):
    return Registry(tmp_path_factory.mktemp("registry")).load(STARTER_ID, "cpu")


def test_the_starter_is_shipped_and_small():
    assert is_shipped()
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) <= MOST_BYTES


def test_the_starter_says_what_it_is_made_of(starter):
    assert starter.version.kind == "starter"
    assert starter.version.classes == ()
    assert len(starter.version.lineage) > 300
    said = " ".join(starter.version.notes)
    assert all(word in said for word in ("MIT", "CC0", "benchmarks.starter", "AP50"))


def test_the_starter_is_described_as_versions_are_written():
    described = json.loads((FOLDER / "version.json").read_text("utf-8"))
    del described["files"]
    written = ModelVersion.from_json(described).to_json()
    assert json.loads(json.dumps(written)) == described


def test_the_starter_is_served_without_torch(starter):
    assert type(starter.detector).__name__ == "OnnxDetector"


@pytest.mark.parametrize("size", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("polarity", ["bright", "dark"])
def test_the_starter_finds_cells_of_any_size_and_polarity_by_itself(starter, size, polarity):
    style = replace(MEDIUM, radius=13 * size, specks=0.0)
    style = style if polarity == "bright" else dark_on_bright(style)
    side = round(300 * max(size, 0.7))
    made = generate_field(3, (side, side), 20, style)
    found = starter.find([ImageRecord(made.pixels, "")], "Nucleus")[0]
    detections = found.detections.above(starter.version.threshold)
    assert detections.classes == ("Nucleus",)
    assert abs(len(detections) - len(made.boxes)) <= 0.25 * len(made.boxes)


@pytest.fixture(scope="module")
def empty_field():
    """So large that a look at the middle does not reach the 300 pixels in a corner."""
    return generate_field(3, (TILE_PX + 620, TILE_PX + 620), 0, MEDIUM).pixels


@pytest.mark.parametrize("corner", [(0, 0), (TILE_PX + 320, TILE_PX + 320)])
def test_the_starter_finds_cells_in_a_corner_of_a_large_image(starter, empty_field, corner):
    made = generate_field(3, (300, 300), 20, MEDIUM)
    pixels = empty_field.copy()
    top, left = corner
    pixels[top : top + 300, left : left + 300] = made.pixels
    (found,) = starter.find([ImageRecord(pixels, "")])
    detections = found.detections.above(starter.version.threshold)
    assert found.prepared.flags == ()
    assert abs(len(detections) - len(made.boxes)) <= 0.25 * len(made.boxes)


def test_the_starter_says_of_an_image_without_cells_that_their_size_is_unknown(starter):
    pixels = generate_field(4, (600, 800), 0, MEDIUM).pixels
    (found,) = starter.find([ImageRecord(pixels, "")])
    assert found.prepared.flags == (SIZE_UNKNOWN,)
    assert len(found.detections.above(starter.version.threshold)) == 0


def test_a_diameter_that_is_given_decides_the_scale(starter):
    image = ImageRecord(np.random.default_rng(0).integers(0, 255, (200, 200)).astype(np.uint8), "")
    given = starter.with_cell_diameter(96.0).find([image])[0]
    assert given.prepared.scale == 0.5


def test_a_registry_begins_with_the_starter_where_it_is_asked_to(tmp_path):
    assert Registry(tmp_path, STARTER_ID).champion("1").id == STARTER_ID
    assert Registry(tmp_path).champion("1").id == CLASSICAL_ID


def test_a_few_steps_from_the_starter_name_its_cells(cell_images, tmp_path):
    snapshot = DatasetSnapshot(
        (*cell_images(3, shape=(128, 160)), *cell_images(2, 200, "held-out", 8, (128, 160))),
        ("Nucleus",),
    )
    detector, training = PRESETS["default"]
    registry = Registry(tmp_path / "registry", STARTER_ID)
    candidate = make_candidate(
        snapshot,
        registry,
        champion=registry.champion("1"),
        workdir=tmp_path / "work",
        recipe=(detector, replace(training, iterations=6, batch=2)),
        device="cpu",
    )
    assert candidate.parent == STARTER_ID
    assert candidate.classes == ("Nucleus",)
    assert set(candidate.lineage) > set(registry.get(STARTER_ID).lineage)
    assert candidate.report is not None
    assert candidate.report.any_class.ap50 > 0.8


def test_a_project_of_an_earlier_release_goes_on_with_the_starter_of_today(tmp_path):
    registry = Registry(tmp_path, STARTER_ID)
    registry.promote("1", "starter-1")
    assert registry.champion("1").id == STARTER_ID
    assert registry.load("starter-1").version.id == STARTER_ID


@pytest.mark.parametrize("polarity", ["bright", "dark"])
def test_the_starter_sees_no_cells_in_the_noise_of_a_faint_image(starter, polarity):
    style = LOW if polarity == "bright" else dark_on_bright(LOW)
    made = generate_field(0, (512, 640), 25, style)
    found = starter.find([ImageRecord(made.pixels, "")], "Nucleus")[0].detections
    boxes = found.above(starter.version.threshold).xyxy_px
    truth = np.array([box.xyxy_px for box in made.boxes], np.float32)
    assert (iou_matrix(truth, boxes).max(axis=0) > 0.3).all()
    assert len(boxes) >= 23


@pytest.mark.parametrize("name", ["bccd", "dsb2018", "usiigaci"])
def test_the_starter_finds_most_cells_of_real_images_that_it_has_not_seen(starter, name):
    images = any_cell(spread(real(name).test, 6))
    assert not {image.sha256 for image in images} & set(starter.version.lineage)
    assert evaluate_version(starter, images, (CELL,)).recall >= 0.5


def test_ten_real_images_that_teach_do_not_make_the_starter_worse(starter, tmp_path):
    data = real("bccd")
    chosen = spread(data.rest, 16)
    teach = [replace(image, side="train") for image in chosen[:10]]
    judge = [replace(image, side="held-out") for image in chosen[10:]]
    detector, training = PRESETS["default"]
    registry = Registry(tmp_path / "registry", STARTER_ID)
    learned = make_candidate(
        DatasetSnapshot((*teach, *judge), data.classes),
        registry,
        champion=registry.champion("1"),
        workdir=tmp_path / "work",
        recipe=(detector, replace(training, iterations=15)),
        device="cpu",
    )
    assert learned.parent == STARTER_ID
    assert learned.report is not None
    before = evaluate_version(starter, any_cell(judge), (CELL,)).any_class.ap50
    assert learned.report.any_class.ap50 > before - 0.05
