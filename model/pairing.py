"""Which found box is which true cell: greedy, one to one, best score first."""

from __future__ import annotations

import numpy as np

from model.boxes import Boolean, Detections, Float32, iou_matrix

IOU = 0.5


def pair(found: Float32, truth: Float32, iou: float = IOU) -> Boolean:
    """Say which found boxes are right: each takes the true box left that it overlaps most.

    Parameters
    ----------
    found
        Shape (N, 4), best score first.
    truth
        Shape (M, 4).
    iou
        Overlap that a pair needs.

    Returns
    -------
    Shape (N,). The answer for the first k boxes does not depend on the boxes after them.
    """
    overlaps = iou_matrix(found, truth)
    right = np.zeros(len(found), np.bool_)
    # Most rows overlap nothing: only those that could pair are walked through.
    for row in np.flatnonzero((overlaps >= iou).any(axis=1)):
        best = int(overlaps[row].argmax())
        if overlaps[row, best] >= iou:
            right[row] = True
            overlaps[:, best] = -1.0
    return right


def any_class(found: Detections, iou: float = IOU) -> Detections:
    """Leave one box where several classes claim the same cell: the best of them.

    Boxes of one class are not compared: whether they are one cell was the detector's to decide.
    """
    if len(np.unique(found.labels)) < 2:
        return found
    rival = (iou_matrix(found.xyxy_px, found.xyxy_px) > iou) & (
        found.labels[:, None] != found.labels[None, :]
    )
    keep = np.ones(len(found), np.bool_)
    for row in np.flatnonzero(rival.any(axis=1)):
        if keep[row]:
            keep[row + 1 :] &= ~rival[row, row + 1 :]
    return found.where(keep)
