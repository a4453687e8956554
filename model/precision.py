"""Average precision: COCO's, without its limit of 100 boxes an image, and the thesis' own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster

from model.boxes import Detections, Float32
from model.pairing import Pairs
from model.reports import AveragePrecision

MAX_BOXES = 1500
NO_TRUTH = AveragePrecision(None, None, None)


def average_precision(found: Sequence[Detections], truth: Sequence[Float32]) -> AveragePrecision:
    """Return the average precision of one class, whatever the labels say.

    Parameters
    ----------
    found
        One for each image.
    truth
        The true boxes of each image, shape (M, 4).

    Returns
    -------
    AP at IoU 0.5, at 0.75 and over 0.50:0.95; None each where there is no true box.
    """
    if not any(len(boxes) for boxes in truth):
        return NO_TRUTH
    if not any(len(boxes) for boxes in found):
        return AveragePrecision(0.0, 0.0, 0.0)
    true = COCO(_ground_truth(truth))
    evaluation = COCOeval_faster(true, true.loadRes(_results(found)), "bbox")
    wanted = evaluation.params
    wanted.maxDets = [max(MAX_BOXES, *(len(boxes) for boxes in found))]
    wanted.areaRng, wanted.areaRngLbl = [[0, 1e10]], ["all"]
    evaluation.evaluate()
    evaluation.accumulate()
    # precision: (IoU threshold, recall, class, area, boxes an image)
    by_iou = evaluation.eval["precision"][:, :, 0, 0, -1].mean(axis=1)
    at = dict(zip(np.round(wanted.iouThrs, 2), by_iou, strict=True))
    return AveragePrecision(float(at[0.5]), float(at[0.75]), float(by_iou.mean()))


def thesis_precision(pairs: Pairs) -> float | None:
    """Return the thesis' own mAP: scikit-learn's average precision, averaged over the images.

    The boxes of an image are ranked by score and each is a hit or a miss at IoU 0.5. A missed cell
    does not enter, since recall is that of the hits: one right box among a hundred cells has 1.0.
    An image with cells and no hit has 0; an image without a cell is left out, whatever was found
    there. Kept for comparing with the thesis alone; nothing is decided by it.

    Returns
    -------
    In [0, 1]; None where no image has a cell.
    """
    from sklearn.metrics import average_precision_score  # a second to import

    def of_image(image: int) -> float:
        mine = pairs.image == image
        right = pairs.right[mine]
        return float(average_precision_score(right, pairs.scores[mine])) if right.any() else 0.0

    each = [of_image(int(image)) for image in np.flatnonzero(pairs.cells)]
    return float(np.mean(each)) if each else None


def mean_precision(each: Sequence[AveragePrecision]) -> AveragePrecision:
    """Return the mean over the classes that have true boxes."""

    def mean(values: list[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return float(np.mean(known)) if known else None

    return AveragePrecision(
        mean([p.ap50 for p in each]), mean([p.ap75 for p in each]), mean([p.ap for p in each])
    )


def _ground_truth(truth: Sequence[Float32]) -> dict[str, Any]:
    boxes = [(image, box) for image, each in enumerate(truth, 1) for box in each]
    annotations = [
        # Ids begin at 1: COCO takes id 0 for "matched to nothing".
        {"id": number, "image_id": image, "category_id": 1, "iscrowd": 0, **_box(box)}
        for number, (image, box) in enumerate(boxes, 1)
    ]
    images = [{"id": image} for image in range(1, len(truth) + 1)]
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cell"}]}


def _results(found: Sequence[Detections]) -> list[dict[str, Any]]:
    return [
        {"image_id": image, "category_id": 1, "score": float(score), **_box(box)}
        for image, each in enumerate(found, 1)
        for box, score in zip(each.xyxy_px, each.scores, strict=True)
    ]


def _box(xyxy: Float32) -> dict[str, Any]:
    left, top, right, bottom = map(float, xyxy)
    width, height = right - left, bottom - top
    return {"bbox": [left, top, width, height], "area": width * height}
