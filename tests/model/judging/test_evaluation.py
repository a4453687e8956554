import contextlib
import io
import json
import math
import subprocess
import sys
import weakref
from dataclasses import replace

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from sklearn.metrics import average_precision_score

from model.boxes import Detections
from model.classical.detector import classical_version
from model.errors import NothingToLearn
from model.judging.calibration import Calibration
from model.judging.counting import counts_of_classes
from model.judging.evaluation import evaluate, judge, judge_version
from model.judging.pairing import Pairs
from model.judging.precision import IOUS, average_precision
from model.judging.strata import density_of
from model.looking.loaded import LoadedVersion
from model.reports import CountReport, EvaluationReport, Interval, Intervals, Stratum
from preprocessing.groups import ContrastGroups

CELL = (10, 10, 30, 30)
OTHER = (50, 50, 70, 70)
NOWHERE = (200, 200, 220, 220)
NUCLEUS = ("Nucleus",)


def by_pycocotools(found, truth):
    """The reference: AP50, AP75 and AP with the caps lifted."""
    true_boxes = [(image, box) for image, each in enumerate(truth, 1) for box in each]
    reference = COCO()
    reference.dataset = {
        "images": [{"id": image} for image in range(1, len(truth) + 1)],
        "categories": [{"id": 1}],
        "annotations": [
            {"id": n, "image_id": image, "category_id": 1, "iscrowd": 0, **coco_box(box)}
            for n, (image, box) in enumerate(true_boxes, 1)
        ],
    }
    results = [
        {"image_id": image, "category_id": 1, "score": float(score), **coco_box(box)}
        for image, each in enumerate(found, 1)
        for box, score in zip(each.xyxy_px, each.scores, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        reference.createIndex()
        evaluation = COCOeval(reference, reference.loadRes(results), "bbox")
        evaluation.params.maxDets = [1, 10, 3000]
        evaluation.evaluate()
        evaluation.accumulate()
    by_iou = evaluation.eval["precision"][:, :, 0, 0, -1].mean(axis=1)
    return by_iou[0], by_iou[5], by_iou.mean()


def coco_box(box):
    left, top, right, bottom = map(float, box)
    size = right - left, bottom - top
    return {"bbox": [left, top, *size], "area": size[0] * size[1]}


@pytest.mark.parametrize("cells", [3, 40, 150])
def test_average_precision_is_that_of_pycocotools(cells, detections, field_of):
    rng = np.random.default_rng(cells)
    fields = [field_of(rng, cells) for _ in range(4)]
    truth = [np.asarray(boxes, np.float32) for boxes, _ in fields]
    found = [detections(rows) for _, rows in fields]
    ours = average_precision(Pairs.at(found, truth, IOUS))
    assert (ours.ap50, ours.ap75, ours.ap) == pytest.approx(by_pycocotools(found, truth), abs=1e-6)
    assert 0 < ours.ap75 < ours.ap50 < 1


def test_boxes_that_overlap_by_just_a_threshold_are_judged_as_by_pycocotools(detections):
    truth = [np.array([(0, 0, 20, 10)], np.float32)] * 10
    found = [detections([(0, 0, wide, 10, wide / 20)]) for wide in range(10, 20)]
    ours = average_precision(Pairs.at(found, truth, IOUS))
    assert (ours.ap50, ours.ap75, ours.ap) == pytest.approx(by_pycocotools(found, truth), abs=1e-6)


def test_of_cells_that_it_overlaps_as_much_a_box_takes_the_one_that_pycocotools_takes(detections):
    truth = [np.array([(0, 0, 10, 10), (4, 0, 14, 10)], np.float32)]
    found = [detections([(2, 0, 12, 10, 0.9), (0, 0, 10, 10, 0.8)])]
    ours = average_precision(Pairs.at(found, truth, IOUS))
    assert (ours.ap50, ours.ap75, ours.ap) == pytest.approx(by_pycocotools(found, truth), abs=1e-6)
    assert ours.ap50 == 1.0


DENSE = """
import resource
import numpy as np
from model.boxes import Detections
from model.judging.pairing import Pairs
from model.judging.precision import IOUS, average_precision

cells = np.random.default_rng(0).uniform(0, 3000, (1500, 2)).astype(np.float32)
truth = [np.concatenate([cells, cells + 30], axis=1)] * 10
scores = np.linspace(1, 0, 1500, dtype=np.float32)
found = [Detections(boxes + 1, scores, np.zeros(1500, np.int64), ("cell",)) for boxes in truth]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
average_precision(Pairs.at(found, truth, IOUS))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.integration
def test_ten_images_of_fifteen_hundred_cells_are_judged_in_little_memory():
    told = subprocess.run([sys.executable, "-c", DENSE], capture_output=True, text=True, check=True)
    assert int(told.stdout) < 60_000


def test_an_image_of_a_thousand_cells_is_judged_whole(detections, labelled):
    corners = [(20 * (i % 40), 20 * (i // 40)) for i in range(1000)]
    cells = [(x, y, x + 15, y + 15) for x, y in corners]
    report = evaluate([detections([(*c, 0.9) for c in cells])], [labelled(cells)], NUCLEUS, 0.5)
    assert report.any_class.ap50 == pytest.approx(1.0)
    assert (report.f1, report.count.predicted, report.count.error) == (1.0, 1000, 0.0)


def test_precision_recall_and_f1_are_of_the_boxes_from_the_threshold_on(detections, labelled):
    found = detections([(*CELL, 0.9), (*NOWHERE, 0.8), (*OTHER, 0.25)])
    report = evaluate([found], [labelled([CELL, OTHER])], NUCLEUS, threshold=0.5)
    assert (report.precision, report.recall, report.f1) == (0.5, 0.5, 0.5)
    assert evaluate([found], [labelled([CELL, OTHER])], NUCLEUS, threshold=0.25).recall == 1.0


def test_each_class_is_judged_by_name_whatever_its_index(detections, labelled):
    truth = labelled([(*CELL, "RBC"), (*OTHER, "WBC")])
    found = detections([(*CELL, 0.9, "RBC"), (*OTHER, 0.8, "RBC")], classes=("WBC", "RBC"))
    report = evaluate([found], [truth], ("RBC", "WBC"), 0.5)
    assert report.by_class["RBC"].ap50 == pytest.approx(1.0)
    assert report.by_class["WBC"].ap50 == 0.0
    assert report.mean.ap50 == pytest.approx(0.5)
    assert report.any_class.ap50 == pytest.approx(1.0)


def test_the_mean_is_over_the_classes_that_have_cells(detections, labelled):
    found = [detections(rows, classes=("RBC", "WBC")) for rows in ([(*CELL, 0.9, "RBC")], [])]
    truth = [labelled([(*CELL, "RBC")], "a"), labelled([], "b")]
    judged = judge(found, truth, ("RBC", "WBC"), 0.5)
    assert judged.report.by_class["WBC"].ap50 is None
    assert judged.report.mean == judged.report.by_class["RBC"]
    assert [pairs.cells.tolist() for pairs in judged.by_class] == [[1, 0]]


def test_two_classes_on_one_cell_count_once_for_any_class(detections, labelled):
    found = detections([(*CELL, 0.9, "RBC"), (*CELL, 0.8, "WBC")], classes=("RBC", "WBC"))
    report = evaluate([found], [labelled([(*CELL, "RBC")])], ("RBC", "WBC"), 0.5)
    assert (report.count.predicted, report.precision) == (1, 1.0)


def test_where_one_class_names_every_box_its_figures_are_those_of_any(detections, labelled):
    found = [detections([(*CELL, 0.9), (*NOWHERE, 0.8)]), detections([(*OTHER, 0.7)])] * 5
    truth = [labelled([CELL], "a"), labelled([CELL, OTHER], "b")] * 5
    judged = judge(found, truth, NUCLEUS, 0.5)
    report = judged.report
    assert report.by_class["Nucleus"] == report.mean == report.any_class
    assert report.intervals.mean_ap50 == report.intervals.any_class_ap50 is not None
    alone = Pairs.of(found, [image.xyxy_px for image in truth])
    assert np.array_equal(judged.by_class[0].right, alone.right)


def test_a_box_of_a_class_without_cells_counts_for_any_class_alone(detections, labelled):
    found = detections([(*NOWHERE, 0.9, "WBC"), (*CELL, 0.8, "RBC")], classes=("RBC", "WBC"))
    report = evaluate([found], [labelled([(*CELL, "RBC")])], ("RBC",), 0.5)
    assert report.mean.ap50 == pytest.approx(1.0)
    assert report.any_class.ap50 == pytest.approx(0.5)


def test_each_contrast_group_of_ten_images_has_its_own_figures(detections, labelled):
    hit, miss = detections([(*CELL, 0.9)]), detections([(*NOWHERE, 0.9), (*OTHER, 0.8)])
    found, groups = [hit] * 10 + [miss] * 11, ["high"] * 10 + ["low"] * 11
    truth = [labelled([CELL], str(number)) for number in range(21)]
    strata = judge(found, truth, NUCLEUS, 0.5, groups).report.by_group
    assert {name: s.any_class.ap50 for name, s in strata.items()} == pytest.approx(
        {"high": 1.0, "low": 0.0}
    )
    assert {name: (s.images, s.count.error) for name, s in strata.items()} == {
        "high": (10, 0.0),
        "low": (11, 1.0),
    }


def test_a_group_of_fewer_than_ten_images_says_so_and_no_figure(detections, labelled):
    truth = [labelled([CELL], str(number)) for number in range(9)]
    judged = judge([detections([(*CELL, 0.9)])] * 9, truth, NUCLEUS, 0.5, ["low"] * 9)
    assert judged.report.by_group == {"low": Stratum(9)}


@pytest.mark.parametrize(
    ("cells", "name"),
    [
        (0, "under 20 cells"),
        (19, "under 20 cells"),
        (20, "20 to 60 cells"),
        (60, "20 to 60 cells"),
        (61, "over 60 cells"),
        (1000, "over 60 cells"),
    ],
)
def test_the_density_of_an_image_is_its_number_of_true_cells(cells, name, detections, labelled):
    truth = labelled([(20 * i, 0, 20 * i + 9, 9) for i in range(cells)])
    assert density_of(cells) == name
    assert list(evaluate([detections([])], [truth], (), 0.5).by_density) == [name]


def test_the_report_keeps_each_images_counts_and_the_curve(detections, labelled):
    found = [detections([(*CELL, 0.9), (*NOWHERE, 0.8), (*OTHER, 0.7)]), detections([])]
    truth = [labelled([CELL, OTHER], "a"), labelled([CELL, OTHER], "b")]
    report = evaluate(found, truth, NUCLEUS, 0.75)
    assert report.counts == ((2, 2), (0, 2))
    assert (report.curve[0], report.curve[25], report.curve[50]) == (1.0, 1.0, 0.6667)
    assert set(report.curve[51:]) == {0.0}
    assert np.mean(report.curve) == pytest.approx(report.any_class.ap50, abs=1e-4)


def test_without_a_cell_there_is_no_curve_and_no_interval_of_precision(detections, labelled):
    report = evaluate([detections([(*CELL, 0.9)])] * 10, [labelled([])] * 10, NUCLEUS, 0.5)
    assert (report.curve, report.thesis_map) == ((), None)
    assert report.intervals.any_class_ap50 is report.intervals.mean_ap50 is None
    assert report.intervals.count_error == Interval(10.0, 10.0)


def test_nine_images_are_too_few_for_an_interval(detections, labelled):
    found, truth = [detections([(*CELL, 0.9)])] * 10, [labelled([CELL, OTHER])] * 10
    assert evaluate(found[:9], truth[:9], NUCLEUS, 0.5).intervals == Intervals()
    assert evaluate(found, truth, NUCLEUS, 0.5).intervals.count_error == Interval(0.5, 0.5)


def test_the_thesis_map_is_scikit_learns_averaged_over_the_images(detections, labelled):
    found = [
        detections([(*CELL, 0.9), (*NOWHERE, 0.8), (*OTHER, 0.7)]),
        detections([(*NOWHERE, 0.9)]),
        detections([(*NOWHERE, 0.9)]),
        detections([]),
    ]
    truth = [
        labelled([CELL, OTHER, (90, 90, 99, 99)], "two of three found: the missed does not enter"),
        labelled([CELL], "cells but no hit: 0"),
        labelled([], "no cell: left out"),
        labelled([CELL], "nothing found: 0"),
    ]
    first = average_precision_score([1, 0, 1], [0.9, 0.8, 0.7])
    report = evaluate(found, truth, NUCLEUS, 0.5)
    assert report.thesis_map == pytest.approx((first + 0 + 0) / 3)


def test_an_image_without_cells_is_faultless_when_nothing_is_found(detections, labelled):
    report = evaluate([detections([])], [labelled([])], NUCLEUS, 0.5)
    assert (report.precision, report.recall, report.f1, report.count.error) == (1, 1, 1, 0)
    assert report.mean.ap50 is report.any_class.ap50 is None


def test_boxes_on_an_image_without_cells_are_errors(detections, labelled):
    report = evaluate([detections([(*CELL, 0.9)] * 3)], [labelled([])], NUCLEUS, 0.5)
    assert (report.precision, report.f1, report.count.error, report.count.bias) == (0, 0, 3, 3)


def test_finding_nothing_where_there_are_cells_is_worth_nothing(detections, labelled):
    report = evaluate([detections([])], [labelled([CELL, OTHER])], NUCLEUS, 0.5)
    assert (report.precision, report.recall, report.f1, report.mean.ap) == (0, 0, 0, 0)
    assert (report.count.error, report.count.bias) == (1, -1)


def test_no_image_at_all_is_an_error_that_says_what_to_do():
    with pytest.raises(NothingToLearn, match="correct at least three"):
        evaluate([], [], NUCLEUS, 0.5)


def test_caps_that_were_reached_are_reported_once(detections, labelled):
    found = replace(detections([(*CELL, 0.9)]), caps_reached={"detections_per_image": 0.5})
    report = evaluate([found, found], [labelled([CELL]), labelled([CELL], "b")], NUCLEUS, 0.5)
    assert report.caps_reached == ("detections_per_image",)


def test_a_cap_that_cut_no_box_that_would_count_is_not_reported(detections, labelled):
    found = replace(detections([(*CELL, 0.9)]), caps_reached={"detections_per_image": 0.49})
    assert evaluate([found], [labelled([CELL])], NUCLEUS, 0.5).caps_reached == ()


def test_the_reliability_of_scores_and_of_what_a_policy_makes_of_them_is_told(detections, labelled):
    found = [detections([(*CELL, 0.8), (*NOWHERE, 0.8)])] * 2
    truth = [labelled([CELL], "a"), labelled([CELL], "b")]
    calibration = Calibration(offset=-math.log(4), shifts={"low": -math.log(4)})
    report = judge(found, truth, NUCLEUS, 0.5, ["low", "high"], calibration).report
    assert [(one.score, one.right) for one in report.reliability] == [(pytest.approx(0.8), 0.5)]
    low, high = report.calibrated
    assert (low.score, high.score) == (pytest.approx(0.2), pytest.approx(0.5))
    assert report.calibration_error == pytest.approx(0.3)
    assert report.calibrated_error == pytest.approx(0.15)
    assert EvaluationReport.from_json(json.loads(json.dumps(report.to_json()))) == report
    ungrouped = judge(found, truth, NUCLEUS, 0.5, calibration=calibration).report
    assert ungrouped.calibrated_error == pytest.approx(0.0, abs=1e-6)
    assert judge(found, truth, NUCLEUS, 0.5).report.calibrated_error is None


def test_a_report_comes_back_from_json_as_it_was(detections, labelled):
    found = [detections([(*CELL, 0.9), (*NOWHERE, 0.8)])] * 12
    truth = [labelled([CELL, OTHER], str(number)) for number in range(12)]
    report = judge(found, truth, NUCLEUS, 0.5, ["low"] * 10 + ["high"] * 2).report
    assert report.intervals.count_error
    assert EvaluationReport.from_json(json.loads(json.dumps(report.to_json()))) == report


class Forgetting:
    """Finds nothing, and knows how many of the images it was shown are still in memory."""

    classes = NUCLEUS

    def __init__(self):
        self.shown, self.most = [], 0

    def detect(self, images):
        self.shown += [weakref.ref(image) for image in images]
        self.most = max(self.most, sum(seen() is not None for seen in self.shown))
        return [Detections.empty(NUCLEUS) for _ in images]


def test_of_a_set_that_is_judged_no_more_than_two_images_are_in_memory(cell_images):
    detector = Forgetting()
    version = LoadedVersion(classical_version(), ContrastGroups.none(), detector)
    judge_version(version, cell_images(5), NUCLEUS)
    assert len(detector.shown) == 5
    assert detector.most <= 2


def test_while_a_version_is_judged_each_image_and_each_tile_is_told(cell_images):
    images = [*cell_images(1), *cell_images(1, shape=(32, 2600))]
    version = LoadedVersion(classical_version(), ContrastGroups.none(), Forgetting())
    told = []
    judge_version(version, images, NUCLEUS, advance=lambda *words: told.append(words))
    small, large = (image.name for image in images)
    tiles = [(0.5 + i / 6, f"{large}, tile {i + 1} of 3") for i in range(3)]
    assert told == [(0.0, small), (0.5, large), *tiles]


class CallingOtherwise:
    """Finds each cell, and calls those of each image by one of its own classes."""

    def __init__(self, truth, classes=("cell",)):
        self.truth, self.classes = iter(enumerate(truth)), classes

    def detect(self, images):
        return [self._called(*next(self.truth)) for _ in images]

    def _called(self, number, image):
        cells = len(image.boxes)
        labels = np.full(cells, number % len(self.classes))
        return Detections(image.xyxy_px, np.ones(cells, np.float32), labels, self.classes)


def test_a_version_that_calls_cells_otherwise_is_judged_by_the_name_it_is_served_under(cell_images):
    images = cell_images(3)
    version = LoadedVersion(classical_version(), ContrastGroups.none(), CallingOtherwise(images))
    assert judge_version(version, images, NUCLEUS).report.mean.ap50 == 1.0


def test_a_version_that_knows_some_of_the_classes_is_judged_by_their_names(cell_images):
    images = [*cell_images(1, label="WBC"), *cell_images(1, 1, label="RBC")]
    detector = CallingOtherwise(images, ("Lymphocyte", "RBC"))
    taught = replace(classical_version(), classes=detector.classes)
    version = LoadedVersion(taught, ContrastGroups.none(), detector)
    judged = judge_version(version, images, ("RBC", "WBC"), default_class="WBC")
    assert {name: each.ap50 for name, each in judged.report.by_class.items()} == {
        "RBC": 1.0,
        "WBC": 1.0,
    }
    assert judged.version == taught.id


def test_the_report_counts_each_class_as_exports_do(detections, labelled):
    both = [(*CELL, 0.9, "RBC"), (*CELL, 0.8, "WBC"), (*OTHER, 0.7, "WBC"), (*NOWHERE, 0.3, "WBC")]
    found = [detections(both, classes=("RBC", "WBC")), detections([], classes=("RBC", "WBC"))]
    truth = [labelled([(*CELL, "RBC"), (*OTHER, "WBC")], "a"), labelled([(*CELL, "WBC")], "b")]
    report = evaluate(found, truth, ("RBC", "WBC"), 0.5)
    assert report.counts == ((2, 2), (0, 1))
    # Of the two boxes on one cell the better counts alone.
    assert report.counts_by_class == {"RBC": ((1, 1), (0, 0)), "WBC": ((1, 1), (0, 1))}
    assert counts_of_classes(report) == {
        "RBC": CountReport(true=1, predicted=1, error=0.0, bias=0.0, median_error=0.0),
        "WBC": CountReport(true=2, predicted=1, error=0.5, bias=-0.5, median_error=0.5),
    }
    assert EvaluationReport.from_json(json.loads(json.dumps(report.to_json()))) == report
    unseen = report.counts_without({truth[0].sha256})
    assert unseen == {"RBC": ((0, 0),), "WBC": ((0, 1),)}


def test_a_report_of_before_a_figure_was_known_is_read_without_it(detections, labelled):
    report = evaluate([detections([(*CELL, 0.9)])], [labelled([CELL])], NUCLEUS, 0.5)
    older = report.to_json()
    del older["counts_by_class"], older["calibrated"]
    assert EvaluationReport.from_json(older) == replace(report, counts_by_class={})
