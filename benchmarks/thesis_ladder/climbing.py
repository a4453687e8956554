"""One model of the ladder: trained by the clock, looked at at marks, taken up where it stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torchvision.models.detection import FasterRCNN

from backend.datasets.writing import as_csv, write_whole
from benchmarks.clock import Clock, Pupil, marks_s
from benchmarks.lines import lines_of
from benchmarks.thesis_ladder.curves import draw_curves
from benchmarks.thesis_ladder.record import COLUMNS, Record, record_csv
from benchmarks.thesis_ladder.rungs import Rung
from benchmarks.thesis_ladder.watch import Watch
from model.errors import TrainingDiverged
from model.judging.counting import counting_threshold
from model.judging.evaluation import evaluate, find_in
from model.labels.examples import DatasetSnapshot, LabelledImage
from model.looking.loaded import LoadedVersion
from model.rcnn.anchors import resolve
from model.rcnn.detector import pick_device

#: When a training is looked at: shares of its time, close together where ours learns.
SHARES = (1 / 60, 1 / 40, 1 / 30, 1 / 20, 1 / 15, 1 / 10, 0.15, *(i / 10 for i in range(2, 11)))
#: What keras-frcnn does with the boxes it found: proposals kept, IoU of NMS, and score to count.
THESIS_PROPOSALS, THESIS_NMS_IOU, THESIS_SCORE = 300, 0.2, 0.7
MINUTE_S = 60.0
MARKS = "marks.jsonl"


@dataclass(frozen=True)
class Course:
    """The images of a ladder: what teaches, what chooses the threshold, and what judges."""

    name: str
    snapshot: DatasetSnapshot
    inner: tuple[LabelledImage, ...]
    judge: tuple[LabelledImage, ...]


def within_the_thesis_limits(pupil: Pupil, module: FasterRCNN, device: str) -> LoadedVersion:
    """Return the module as a version that keeps as many boxes as keras-frcnn, for good."""
    module.roi_heads.nms_thresh = THESIS_NMS_IOU
    limits = replace(pupil.detector.looking_once, rpn_post_nms=THESIS_PROPOSALS, rpn_crowded=1)
    return pupil.version(module, device, limits)


@dataclass
class Climb:
    """A model's way up; every mark is a line of JSON in its folder, the last with the result.

    Parameters
    ----------
    folder
        The model's own: record.csv, curves.svg, counts.csv, marks.jsonl, checkpoint.
    device
        As ``pick_device`` takes it.
    """

    rung: Rung
    course: Course
    minutes: float
    folder: Path
    device: str
    tell: Callable[[str], None]

    def __post_init__(self) -> None:
        self.detector = resolve(self.rung.detector, self.course.snapshot)
        self.limit_s = self.minutes * self.rung.share * MINUTE_S
        recipe = [asdict(self.detector), asdict(self.rung.training), self.limit_s]
        images = [image.sha256 for image in (*self.course.inner, *self.course.judge)]
        content = json.dumps([recipe, self.course.snapshot.sha256, images], sort_keys=True)
        self.fingerprint = hashlib.sha256(content.encode()).hexdigest()

    @property
    def here(self) -> dict[str, Any]:
        """Where steps are taken now. Time is what is given, so a training ends where it began."""
        return {"device": str(pick_device(self.device)), "threads": torch.get_num_threads()}

    def go(self) -> list[dict[str, Any]]:
        """Train to the end, or to where the loss is no number; return a line for each mark."""
        lines = self.lines_from_here()
        if lines and "result" in lines[-1]:
            return lines
        pupil = Pupil.of(self.detector, self.rung.training, self.course.snapshot)
        checkpoint = f"{self.fingerprint} {json.dumps(self.here)}"
        run = pupil.training(self.folder, self.device, checkpoint)
        if lines and run.iteration < lines[-1]["iteration"]:
            lines = []  # the checkpoint is gone, and with it what the lines speak of
        watch, marks = Watch(run.module), marks_ahead(lines, self.limit_s)
        spent = times_of(lines, run.iteration, marks[0])
        clock = Clock(run, self.limit_s, self.rung.falling, *spent)
        for mark in marks:
            if clock.elapsed_s >= mark and mark < self.limit_s:
                continue  # a long step went past it
            lines.append(self._climb_to(mark, clock, watch, pupil))
            self._write(lines)
            if "result" in lines[-1]:
                break
        run.checkpoint.unlink(missing_ok=True)
        return lines

    def _climb_to(self, mark: float, clock: Clock, watch: Watch, pupil: Pupil) -> dict[str, Any]:
        watch.start()
        clock.training.module.train()
        diverged = {}
        try:
            clock.run_until(mark)
        except TrainingDiverged as error:
            diverged = {"diverged": str(error)}
        clock.training.keep()
        last = clock.elapsed_s >= self.limit_s or bool(diverged)
        line = self._look(clock, watch.means, pupil, last) | diverged
        ap50 = "none" if line["ap50"] is None else f"{line['ap50']:.3f}"
        self.tell(f"{clock.elapsed_s / MINUTE_S:6.2f} min, step {line['iteration']}, AP50 {ap50}")
        return line

    def _look(
        self, clock: Clock, means: Sequence[float], pupil: Pupil, last: bool
    ) -> dict[str, Any]:
        module, inner = clock.training.module, self.course.inner
        version = pupil.version(module, self.device)
        found = find_in(version, self.course.judge)[0]
        threshold = counting_threshold(find_in(version, inner)[0], inner) if last else 0.5
        report = evaluate(found, self.course.judge, self.course.snapshot.classes, threshold)
        minutes = clock.elapsed_s / MINUTE_S
        row = (*means, sum(means[2:]), minutes, report.thesis_map)
        line = {
            "fingerprint": self.fingerprint,
            **self.here,
            "iteration": clock.training.iteration,
            "cpu_s": clock.cpu_s,
            "ap50": report.mean.ap50,
            "record": dict(zip(COLUMNS, row, strict=True)),
        }
        if last:
            counted = self._as_the_thesis_counts(module, pupil)
            line["result"] = {"report": report.to_json(), "thesis_counts": counted}
        return line

    def _as_the_thesis_counts(self, module: FasterRCNN, pupil: Pupil) -> list[int]:
        """Return how many cells keras-frcnn's own limits and score count, by image."""
        found = find_in(within_the_thesis_limits(pupil, module, self.device), self.course.judge)[0]
        return [int((each.scores >= THESIS_SCORE).sum()) for each in found]

    def lines(self) -> list[dict[str, Any]]:
        """Return what was done already of this very training, wherever it was."""
        lines = lines_of(self.folder / MARKS)
        return [line for line in lines if line["fingerprint"] == self.fingerprint]

    def lines_from_here(self) -> list[dict[str, Any]]:
        """Return what was done on this device with as many threads: what it can go on from."""
        here = self.here
        return [line for line in self.lines() if all(line.get(k) == v for k, v in here.items())]

    def _write(self, lines: Sequence[dict[str, Any]]) -> None:
        records = records_of(lines)
        content = "".join(json.dumps(line) + "\n" for line in lines)
        write_whole(self.folder / MARKS, content.encode())
        write_whole(self.folder / "record.csv", record_csv(records).encode())
        write_whole(self.folder / "curves.svg", draw_curves({self.rung.name: records}).encode())
        if "result" in lines[-1]:
            write_whole(self.folder / "counts.csv", self._counts(lines[-1]["result"]))

    def _counts(self, result: dict[str, Any]) -> bytes:
        counts = zip(
            self.course.judge, result["report"]["counts"], result["thesis_counts"], strict=True
        )
        rows = [(image.name, true, found, thesis) for image, (found, true), thesis in counts]
        return as_csv([("image", "true", "found", "found_as_the_thesis_counts"), *rows])


def marks_ahead(lines: Sequence[dict[str, Any]], limit_s: float) -> list[float]:
    """Return the seconds at which a training is still to be looked at; the limit always."""
    done = lines[-1]["record"]["elapsed_time"] * MINUTE_S if lines else 0.0
    return [mark for mark in marks_s(limit_s, SHARES) if mark > done] or [limit_s]


def times_of(lines: Sequence[dict[str, Any]], iteration: int, mark: float) -> tuple[float, float]:
    """Return the seconds on the wall and of CPU that a training taken up has had.

    A checkpoint of more steps than the last line knows was written at the next mark, and the look
    that should have followed was cut off.
    """
    if not lines:
        return (mark if iteration else 0.0), 0.0
    last = lines[-1]
    elapsed = mark if iteration > last["iteration"] else last["record"]["elapsed_time"] * MINUTE_S
    return elapsed, last["cpu_s"]


def records_of(lines: Sequence[dict[str, Any]]) -> list[Record]:
    return [Record(**line["record"]) for line in lines]
