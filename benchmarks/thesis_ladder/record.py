"""The thesis' record.csv: a row for each stretch of a training, in keras-frcnn's columns."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields


@dataclass(frozen=True)
class Record:
    """What a training was like since the row before, and what it was worth at the end.

    Parameters
    ----------
    mean_overlapping_bboxes
        Proposals an image, before sampling, that overlap a cell by IoU ≥ 0.5; true boxes, which
        torchvision mixes in, are not counted.
    class_acc
        Share of the sampled RoIs whose most likely class is theirs.
    loss_rpn_cls, loss_rpn_regr, loss_class_cls, loss_class_regr
        Means over the steps; ``curr_loss`` is their sum. A refiner's loss, which the thesis'
        models have not, is not among them.
    elapsed_time
        Minutes of training since its beginning.
    mAP
        The thesis' own (``docs/evaluation.md``), on the images that judge; None: no cell there.
    """

    mean_overlapping_bboxes: float
    class_acc: float
    loss_rpn_cls: float
    loss_rpn_regr: float
    loss_class_cls: float
    loss_class_regr: float
    curr_loss: float
    elapsed_time: float
    mAP: float | None


COLUMNS = tuple(field.name for field in fields(Record))


def record_csv(records: Iterable[Record]) -> str:
    """Return the table; what is not known is empty."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for record in records:
        values = asdict(record).values()
        table.writerow([f"{v:.6g}" if v is not None and math.isfinite(v) else "" for v in values])
    return text.getvalue()
