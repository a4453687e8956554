import subprocess
import sys
from dataclasses import replace

import pytest

from model.errors import NothingToLearn, TrainingCancelled
from model.judging.evaluation import evaluate_version
from model.labels.examples import DatasetSnapshot
from model.progress import Progress, part_of
from model.training import gradients
from tests.model.learning.conftest import CLASSES, PRESET


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


def test_importing_it_imports_no_torch():
    code = "import sys, model.learning.candidate; sys.exit('torch' in sys.modules)"
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
def test_without_held_out_images_there_is_no_report_and_the_inner_side_is_part_of_the_lineage(
    make, snapshot, cell_images, unexported
):
    inner = cell_images(1, 300, "inner", 4, (64, 64))
    version = make(replace(snapshot, images=(*snapshot.of_side("train"), *inner)))
    assert version.report is None
    assert inner[0].sha256 in version.lineage


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
