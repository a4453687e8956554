import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from model.classical.detector import CLASSICAL_ID
from model.config import CONTRASTS, DetectorConfig, TrainConfig
from model.errors import NothingToLearn, TrainingCancelled
from model.judging.evaluation import evaluate_version
from model.keeping.registry import Registry
from model.keeping.starter import STARTER_ID
from model.labels.examples import DatasetSnapshot
from model.learning import _samples, _Serving, make_candidate
from model.looking.tiling import TILE_PX
from model.progress import Progress, part_of
from model.rcnn.detector import TorchDetector, load_detector
from model.rcnn.engine import OnnxDetector
from model.training import gradients
from model.versions import ModelVersion
from preprocessing.groups import ContrastGroups

CLASSES = ("Nucleus",)
PRESET = (
    DetectorConfig(head_features=32),
    TrainConfig(
        iterations=3,
        batch=1,
        rois_per_image=16,
        rpn_proposals=50,
        contrast=CONTRASTS["single"],
    ),
)


@pytest.fixture(scope="module")
def snapshot(cell_images):
    train = cell_images(3, shape=(64, 64), cells=4)
    held_out = cell_images(1, 200, "held-out", 4, (64, 64))
    return DatasetSnapshot((*train, *held_out), CLASSES)


@pytest.fixture
def make(registry, tmp_path):
    def make(snapshot, name="work", recipe=PRESET, **options):
        return make_candidate(
            snapshot, registry, workdir=tmp_path / name, recipe=recipe, device="cpu", **options
        )

    return make


class Made(NamedTuple):
    """A candidate of the snapshot for project 7, which the classical version serves."""

    root: Path
    version: ModelVersion
    told: list


@pytest.fixture(scope="module")
def made(snapshot, tmp_path_factory):
    """Make one for all tests that only look at it or begin with it."""
    folder, told = tmp_path_factory.mktemp("made"), []
    registry = Registry(folder / "registry")
    version = make_candidate(
        snapshot,
        registry,
        workdir=folder / "work",
        champion=registry.champion("7"),
        project="7",
        recipe=PRESET,
        device="cpu",
        on_progress=told.append,
    )
    return Made(registry.root, version, told)


@pytest.fixture
def candidate(made, registry):
    """The candidate that was made, in the registry of this test."""
    shutil.copytree(made.root, registry.root)
    return made.version


@pytest.fixture
def unexported(monkeypatch):
    """Let PyTorch serve: an export takes longer than all else, and not every test is about it."""

    def serve(weights, snapshot, groups, detector, workdir, device):
        return _Serving(load_detector(weights, detector, snapshot.classes, device).folded())

    monkeypatch.setattr("model.learning._serving", serve)


def hashes(snapshot, *sides):
    return [image.sha256 for image in snapshot.of_side(*sides)]


@pytest.mark.integration
def test_a_candidate_knows_how_large_the_cells_were_and_that_they_were_not_of_one_size(
    make, cell_images, unexported
):
    small, held_out = cell_images(3, shape=(64, 64), cells=5), cell_images(1, 200, "held-out", 5)
    large = [
        replace(image, boxes=tuple(replace(b, xmin=0.0, xmax=400.0) for b in image.boxes))
        for image in small[:1]
    ]
    version = make(DatasetSnapshot((*small[1:], *large, *held_out), CLASSES))
    assert 12 < version.cell_sides_px[0] < 22 < version.cell_sides_px[1]
    assert "a project for each magnification" in version.notes[0]


def test_of_a_large_image_the_middle_tile_alone_shows_whether_the_exported_file_is_right(
    cell_images, tmp_path
):
    images = cell_images(1, shape=(40, 2 * TILE_PX))
    config = DetectorConfig(scale=1.0)
    (sample,) = _samples(DatasetSnapshot(tuple(images), CLASSES), ContrastGroups.none(), config)
    assert sample.seen_shape == (40, TILE_PX)


def test_importing_it_imports_no_torch():
    code = "import sys, model.learning; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_training_without_an_inner_side_says_that_it_cannot_end_sooner(make, snapshot):
    told = []

    def stop(progress):
        told.append(progress.message)
        raise TrainingCancelled("stop")

    inner = replace(snapshot.images[0], side="inner")
    for more in ((), (inner,), (replace(inner, boxes=()),)):
        each = replace(snapshot, images=(*snapshot.images, *more))
        with pytest.raises(TrainingCancelled):
            make(each, on_progress=stop)
    assert told == [
        "learning from 3 images with 12 cells, in all steps: no image is inner yet",
        "learning from 3 images with 12 cells",
        "learning from 3 images with 12 cells, in all steps: no inner image has a cell",
    ]


def test_a_part_of_the_work_reports_as_its_share_of_the_whole():
    seen = []
    part_of(seen.append, 0.2, 0.6)(Progress("training", 0.5, 1, 2, 0.1))
    assert seen == [Progress("training", pytest.approx(0.4), 1, 2, 0.1)]


@pytest.mark.integration
def test_a_candidate_is_in_the_registry_with_all_that_is_known_of_it(candidate, registry, snapshot):
    version = candidate
    assert registry.get(version.id) == version
    assert (version.kind, version.project, version.classes) == ("trained", "7", CLASSES)
    assert version.snapshot == snapshot.sha256
    assert list(version.lineage) == hashes(snapshot, "train")
    assert version.report.images == tuple(hashes(snapshot, "held-out"))
    assert version.detector.scale > 0
    assert version.detector.anchor_sizes
    assert 0 <= version.threshold <= 1
    assert version.decision is None


@pytest.mark.integration
def test_the_loaded_candidate_is_what_was_reported(candidate, registry, snapshot):
    loaded = registry.load(candidate.id, "cpu")
    assert loaded.groups.mode == "single"
    again = evaluate_version(loaded, snapshot.of_side("held-out"), CLASSES)
    assert again == candidate.report


@pytest.mark.integration
def test_a_candidate_is_judged_and_served_by_its_exported_file(candidate, registry):
    assert isinstance(registry.load(candidate.id, "cpu").detector, OnnxDetector)
    by_torch = registry.load(candidate.id, "cpu", "torch").detector
    assert isinstance(by_torch, TorchDetector)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in by_torch.module.modules())
    assert candidate.notes == ()


@pytest.mark.integration
def test_a_candidate_that_cannot_be_exported_is_served_by_pytorch_and_says_so(
    make, registry, snapshot, monkeypatch, caplog
):
    monkeypatch.setattr("model.rcnn.export.SCORE", -1.0)  # nothing is that near
    version = make(snapshot)
    assert "boxes are not those that PyTorch finds" in version.notes[0]
    assert "not exported" in caplog.text
    loaded = registry.load(version.id, "cpu")
    assert isinstance(loaded.detector, TorchDetector)
    assert evaluate_version(loaded, snapshot.of_side("held-out"), CLASSES) == version.report


@pytest.mark.integration
def test_without_held_out_images_there_is_no_report_and_the_inner_side_is_part_of_the_lineage(
    make, snapshot, cell_images, unexported
):
    inner = cell_images(1, 300, "inner", 4, (64, 64))
    version = make(replace(snapshot, images=(*snapshot.of_side("train"), *inner)))
    assert version.report is None
    assert inner[0].sha256 in version.lineage


@pytest.mark.integration
def test_a_candidate_begins_with_the_champion_and_inherits_its_lineage(
    make, registry, candidate, snapshot, cell_images, unexported
):
    champion = candidate
    more = (*cell_images(1, 400, "train", 4, (64, 64)), *snapshot.images)
    detector, training = PRESET
    still = (detector, replace(training, learning_rate=0.0, iterations=1))
    version = make(replace(snapshot, images=more), "next", still, champion=champion)
    assert version.parent == champion.id
    assert set(champion.lineage) < set(version.lineage)
    assert version.detector == champion.detector
    one, other = (registry.load(v.id, "cpu", "torch").detector.module for v in (champion, version))
    assert torch.equal(one.rpn.head.cls_logits.weight, other.rpn.head.cls_logits.weight)


@pytest.mark.integration
@pytest.mark.parametrize("classes", [("Nucleus", "Platelet"), ("Platelet", "Nucleus")])
def test_a_class_that_is_new_leaves_what_is_known_of_the_others(
    make, registry, candidate, snapshot, cell_images, unexported, classes
):
    champion = candidate
    images = (*snapshot.images, *cell_images(1, 500, "train", 2, (64, 64), "Platelet"))
    detector, training = PRESET
    still = (detector, replace(training, learning_rate=0.0, iterations=1))
    version = make(DatasetSnapshot(images, classes), "next", still, champion=champion)
    assert (version.parent, version.classes) == (champion.id, classes)
    before, after = (
        registry.load(v.id, "cpu", "torch").detector.module.roi_heads.box_predictor.cls_score
        for v in (champion, version)
    )
    nucleus = classes.index("Nucleus") + 1
    assert torch.equal(after.weight[[0, nucleus]], before.weight)
    assert torch.equal(after.bias[[0, nucleus]], before.bias)


def stem_of(registry, version):
    return registry.load(version.id, "cpu", "torch").detector.module.backbone.body["0"]


@pytest.mark.integration
def test_the_stem_stays_as_a_starter_had_it_whoever_learns_after(tmp_path, snapshot, unexported):
    registry = Registry(tmp_path / "registry", STARTER_ID)
    champion = registry.get(STARTER_ID)
    for name in ("one", "two"):
        begun = champion
        champion = make_candidate(
            snapshot,
            registry,
            workdir=tmp_path / name,
            recipe=(DetectorConfig(), PRESET[1]),
            device="cpu",
            champion=begun,
            with_report=False,
        )
        before, after = (stem_of(registry, v)[0].weight for v in (begun, champion))
        assert torch.equal(before, after)
        assert champion.course.stem_kept
        assert registry.get(champion.id).course.steps == PRESET[1].iterations


@pytest.mark.integration
def test_the_stem_learns_where_there_was_no_starter(
    make, registry, candidate, snapshot, unexported
):
    version = make(snapshot, champion=candidate, with_report=False)
    assert version.parent == candidate.id
    before, after = (stem_of(registry, v)[0].weight for v in (candidate, version))
    assert not torch.equal(before, after)
    for each in (candidate, version):
        assert not each.course.stem_kept
        assert registry.get(each.id).course.steps == PRESET[1].iterations


@pytest.mark.integration
def test_many_images_teach_all_layers_from_the_starter_too(
    tmp_path, snapshot, monkeypatch, unexported
):
    monkeypatch.setattr("model.learning._TEACH_ALL_LAYERS", len(snapshot.of_side("train")))
    registry = Registry(tmp_path / "registry", STARTER_ID)
    starter = registry.get(STARTER_ID)
    version = make_candidate(
        snapshot,
        registry,
        workdir=tmp_path / "work",
        recipe=(DetectorConfig(), PRESET[1]),
        device="cpu",
        champion=starter,
        with_report=False,
    )
    before, after = (stem_of(registry, v)[0].weight for v in (starter, version))
    assert not torch.equal(before, after)


@pytest.mark.integration
def test_a_training_whose_memory_ran_out_is_noted_in_the_version(
    make, snapshot, monkeypatch, unexported
):
    def refuse_two(module, part, device, loss=gradients._loss):
        if len(part) > 1:
            raise MemoryError
        return loss(module, part, device)

    monkeypatch.setattr(gradients, "_loss", refuse_two)
    detector, training = PRESET
    version = make(snapshot, recipe=(detector, replace(training, batch=2)))
    assert version.notes[0].startswith("memory ran out at iteration 0: since then 1 of a batch's 2")


@pytest.mark.integration
def test_a_champion_of_another_architecture_is_no_start(make, candidate, snapshot, unexported):
    champion = candidate
    detector, training = PRESET
    other = replace(detector, backbone="mbs8_64")
    without = replace(training, imagenet="never")
    version = make(snapshot, "next", (other, without), champion=champion)
    assert version.parent is None
    why = f"{champion.id} is of another architecture than is trained"
    assert version.notes == (f"begun from nothing, since {why}",)


@pytest.mark.integration
def test_images_that_the_start_has_seen_do_not_judge_unless_there_are_no_others(
    make, candidate, snapshot, cell_images, unexported
):
    champion = candidate
    train, new = cell_images(3, 50, shape=(64, 64), cells=4), snapshot.of_side("held-out")
    seen = tuple(replace(image, side="held-out") for image in snapshot.of_side("train"))
    notes = []
    for held_out, judging in (((*seen, *new), new), (seen, seen)):
        both = DatasetSnapshot((*train, *held_out), CLASSES)
        version = make(both, f"{len(held_out)} held out", champion=champion)
        assert version.report.images == tuple(image.sha256 for image in judging)
        notes += version.notes
    assert notes == [
        f"{champion.id} learned from or was chosen by 3 of the 4 images held out, which do not "
        "judge",
        f"{champion.id} learned from or was chosen by the images that judge, for want of others: "
        "the figures flatter it",
    ]


@pytest.mark.integration
def test_a_preset_keeps_its_own_anchors_and_scale_whatever_it_begins_with(
    make, candidate, snapshot, unexported
):
    champion = candidate
    detector, training = PRESET
    chosen = replace(
        detector, anchor_sizes=(11.0, 14.0, 17.0, 21.0), scale=champion.detector.scale * 1.1
    )
    version = make(snapshot, "next", (chosen, training), champion=champion)
    assert (version.parent, version.detector) == (champion.id, chosen)


@pytest.mark.integration
def test_the_classical_champion_is_no_start(candidate, registry):
    assert registry.champion("7").id == CLASSICAL_ID
    assert candidate.parent is None


@pytest.mark.integration
def test_progress_goes_from_nothing_to_all_and_never_back(made):
    seen = made.told
    fractions = [p.fraction for p in seen]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    stages = list(dict.fromkeys(p.stage for p in seen))
    assert stages == ["preparing", "training", "exporting", "calibrating", "evaluating", "storing"]
    assert "3 images with 12 cells" in seen[0].message


@pytest.mark.integration
def test_a_cancelled_candidate_leaves_no_version(make, registry, snapshot, unexported):
    def cancel(progress):
        if progress.stage == "evaluating":
            raise TrainingCancelled("stop")

    with pytest.raises(TrainingCancelled):
        make(snapshot, on_progress=cancel)
    assert [v.kind for v in registry.list()] == ["classical", "starter"]


def test_a_snapshot_without_a_box_makes_no_candidate(make, registry, cell_images):
    empty = DatasetSnapshot(tuple(cell_images(2, cells=0)), CLASSES)
    with pytest.raises(NothingToLearn):
        make(empty)
    assert [v.kind for v in registry.list()] == ["classical", "starter"]
