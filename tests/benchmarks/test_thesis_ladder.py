from __future__ import annotations

import csv
import io
import json
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import torch

from benchmarks.clock import ENDLESS, Pupil, marks_s, planned
from benchmarks.thesis_ladder.climbing import (
    MARKS,
    Climb,
    Course,
    marks_ahead,
    times_of,
    within_the_thesis_limits,
)
from benchmarks.thesis_ladder.curves import draw_curves
from benchmarks.thesis_ladder.record import COLUMNS, Record, record_csv
from benchmarks.thesis_ladder.rungs import DEVIATIONS, Rung, rungs
from benchmarks.thesis_ladder.table import by_density, is_void, table, time_to_best, trained_on
from benchmarks.thesis_ladder.watch import LOSSES, Watch
from model.config import DetectorConfig, TrainConfig
from model.labels.examples import DatasetSnapshot, LabelledImage
from model.rcnn.detector import build
from preprocessing.groups import ContrastGroups
from preprocessing.images import ImageRecord

SMALL = DetectorConfig(scale=1.0, anchor_sizes=(12.0, 16.0, 20.0, 25.0), head_features=16)


def record(minutes, thesis_map=0.5):
    return Record(12.5, 0.75, 0.4, 0.3, 0.2, 0.1, 1.0, minutes, thesis_map)


def line(minutes, ap50, iteration=10, **more):
    on = {"device": "cpu", "threads": 2}
    return {"record": vars(record(minutes)), "ap50": ap50, "iteration": iteration, **on, **more}


def finished(minutes, ap50, counts=((8, 10), (70, 80)), thesis=(9, 50)):
    report = {
        "any_class": {"ap50": ap50},
        "count": {"error": 0.25},
        "counts": counts,
    }
    return line(minutes, ap50, result={"report": report, "thesis_counts": list(thesis)})


def test_the_record_has_keras_frcnns_columns_and_leaves_empty_what_is_not_known():
    text = record_csv([record(1.5), Record(*[float("nan")] * 7, 2.0, None)])
    assert text.splitlines()[0] == (
        "mean_overlapping_bboxes,class_acc,loss_rpn_cls,loss_rpn_regr,loss_class_cls,"
        "loss_class_regr,curr_loss,elapsed_time,mAP"
    )
    first, second = csv.DictReader(io.StringIO(text))
    assert [float(first[name]) for name in COLUMNS] == [12.5, 0.75, 0.4, 0.3, 0.2, 0.1, 1, 1.5, 0.5]
    assert (second["elapsed_time"], second["mAP"], second["curr_loss"]) == ("2", "", "")


def test_the_curves_are_an_svg_with_a_plot_for_each_column():
    root = ET.fromstring(draw_curves({"m<06": [record(1), record(2, None)], "ours": []}))
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"m<06", "ours", *COLUMNS} - {"elapsed_time"} <= set(texts)
    lines = list(root.iter("{http://www.w3.org/2000/svg}polyline"))
    assert len(lines) == 2 * (len(COLUMNS) - 1)


@pytest.mark.parametrize(
    ("done", "elapsed", "steps"), [(0, 0.0, ENDLESS), (10, 5.0, 120), (120, 60.0, 121), (9, 70, 10)]
)
def test_as_many_steps_are_planned_as_there_will_be_at_the_limit(done, elapsed, steps):
    assert planned(done, elapsed, 60.0) == steps


def test_marks_end_with_the_limit_and_those_gone_by_do_not_come_again():
    assert marks_s(100.0, (0.1, 0.5, 2.0)) == [10.0, 50.0, 100.0]
    assert marks_ahead([], 600.0)[0] == 10.0
    assert marks_ahead([line(8.99, 0.1)], 600.0) == [540.0, 600.0]
    assert marks_ahead([line(10.1, 0.1)], 600.0) == [600.0]


def test_a_look_that_was_cut_off_does_not_give_its_time_back():
    lines = [line(1.0, 0.1, iteration=30, cpu_s=50.0)]
    assert times_of(lines, 30, 120.0) == (60.0, 50.0)
    assert times_of(lines, 55, 120.0) == (120.0, 50.0)
    assert times_of([], 0, 20.0) == (0.0, 0.0)
    assert times_of([], 7, 20.0) == (20.0, 0.0)


def test_half_size_halves_the_thesis_anchors_and_leaves_ours_alone():
    ladder = rungs(0.5)
    assert ladder["m03"].detector.anchor_sizes == (32, 64, 128)
    assert ladder["m06"].detector.anchor_sizes == ladder["m06-ours"].detector.anchor_sizes
    assert ladder["default"].detector == DetectorConfig()
    for name in ("m03", "m04", "m05", "m06"):
        training = ladder[name].training
        assert (training.batch, training.rois_per_image, training.tone) == (1, 4, 0.0)
        assert not ladder[name].falling
    assert ladder["m06-ours"].training.rois_per_image == 4


def test_a_thesis_model_that_learned_too_little_is_void_and_ours_is_not():
    ladder = rungs(1.0)
    assert is_void(ladder["m06"], 0.29)
    assert is_void(ladder["m06"], None)
    assert not is_void(ladder["m06"], 0.30)
    assert not is_void(ladder["default"], 0.1)


def test_the_table_says_void_counts_by_density_and_when_ours_was_as_good():
    ladder = rungs(1.0)
    climbs = {
        "m06": [line(10, 0.15), finished(30, 0.2)],
        "default": [line(0.5, 0.1), line(1.0, 0.25), finished(30, 0.8)],
        "m03": [line(3, 0.1)],
    }
    text = table(climbs, ladder, "judged on 2 images")
    rows = {row.split(" ")[1]: row for row in text.splitlines() if row.startswith("| m06 (")}
    assert text.startswith("judged on 2 images Trained on cpu, 2 threads.")
    assert "VOID" in rows["m06"]
    assert "8.0 / 10.0 (1)" in text
    assert "70.0 / 80.0 (1)" in text
    assert "50.0 / 80.0 (1)" in text
    assert "m06 at its best: AP50 0.200 after 30.00 min. default: after 1.00 min, 0.033" in text
    assert "| m03" not in text
    assert all(deviation in text for deviation in DEVIATIONS)


def test_it_is_told_where_models_were_not_trained_on_the_same():
    climbs = {"m06": [line(1, 0.5)], "default": [line(1, 0.5, device="cuda", threads=1)]}
    assert "m06 on cpu, 2 threads; default on cuda, 1 thread." in trained_on(climbs)
    assert trained_on({"m06": [line(1, 0.5)]}) == "Trained on cpu, 2 threads."


def test_a_training_by_the_clock_goes_on_with_as_many_threads_alone_but_is_shown(tmp_path):
    course = Course("fields", DatasetSnapshot((), ("N",)), (), ())
    climb = Climb(Rung("ours", "", SMALL, TrainConfig()), course, 1.0, tmp_path, "cpu", print)
    own = {"fingerprint": climb.fingerprint, "device": "cpu"}
    lines = [line(1, 0.1, **own, threads=torch.get_num_threads() + more) for more in (0, 1)]
    (tmp_path / MARKS).write_text("".join(json.dumps(each) + "\n" for each in lines), "utf-8")
    assert climb.lines() == lines
    assert climb.lines_from_here() == lines[:1]


def test_the_counts_of_each_image_are_a_table_whatever_the_images_are_called(tmp_path):
    names = ["a.png", "day 3, well B.png"]
    judge = tuple(LabelledImage(tmp_path / name, name, (), name=name) for name in names)
    course = Course("fields", DatasetSnapshot((), ("N",)), (), judge)
    climb = Climb(Rung("ours", "", SMALL, TrainConfig()), course, 1.0, tmp_path, "cpu", print)
    climb._write([finished(1, 0.5)])
    rows = csv.DictReader(io.StringIO((tmp_path / "counts.csv").read_text("utf-8")))
    assert [tuple(row.values()) for row in rows] == [
        ("a.png", "10", "8", "9"),
        ("day 3, well B.png", "80", "70", "50"),
    ]


def test_a_best_that_ours_never_had_is_told():
    climbs = {"m06": [line(10, 0.5)], "default": [line(10, 0.4)]}
    assert "default: not reached" in time_to_best(climbs, "m06")


def test_counts_by_density_are_means_an_image():
    counts = [(8, 10), (12, 10), (30, 40)]
    assert by_density(counts) == {
        "under 20 cells": "10.0 / 10.0 (2)",
        "20 to 60 cells": "30.0 / 40.0 (1)",
    }


@pytest.mark.integration
def test_as_the_thesis_counts_no_more_proposals_are_looked_at_than_it_kept():
    pupil = Pupil(SMALL, TrainConfig(), DatasetSnapshot((), ("N",)), ContrastGroups.none())
    module = build(SMALL, ("N",), TrainConfig())
    looked_at = []
    module.roi_heads.box_head.register_forward_hook(lambda *told: looked_at.append(len(told[2])))
    noise = np.random.default_rng(0).integers(0, 255, (320, 320)).astype(np.uint8)
    for version in (pupil.version(module, "cpu"), within_the_thesis_limits(pupil, module, "cpu")):
        version.find([ImageRecord(noise, "")])
    *ours, thesis = looked_at  # which looks once
    assert min(ours) > 2 * thesis == 600


def test_the_watch_reads_off_a_step_what_the_record_holds_and_changes_nothing():
    targets = [{"boxes": torch.tensor([[8.0, 8, 24, 24]]), "labels": torch.tensor([1])}]
    losses = []
    for watched in (False, True):
        torch.manual_seed(3)
        module = build(SMALL, ("N",), TrainConfig(rois_per_image=8, rpn_proposals=20)).train()
        watch = Watch(module) if watched else None
        losses.append(module([torch.linspace(0, 1, 64 * 64).view(1, 64, 64)], targets))
    assert losses[0] == losses[1]
    overlapping, accuracy, *each = watch.means
    assert overlapping == int(overlapping) >= 0
    assert 0 <= accuracy <= 1
    assert each == pytest.approx([float(losses[1][name].detach()) for name in LOSSES])
    watch.start()
    assert watch.means[0] != watch.means[0]
