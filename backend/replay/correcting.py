"""Corrects by the truth, as a careful or a careless person does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from backend.actions import Actions
from model.boxes import Box, edges_of, iou_matrix
from preprocessing.arrays import Float32

#: From this overlap a served box is on a true one, whatever its class.
PAIR_IOU = 0.5
#: A box on a cell is kept from this overlap on, or if no edge is farther off than this many pixels;
#: otherwise it is moved.
KEEP_IOU = 0.75
KEEP_PX = 2.0


@dataclass(frozen=True)
class Carelessness:
    """How often an annotator overlooks what is wrong.

    Parameters
    ----------
    misses
        Share of the unserved cells that are not drawn.
    accepts
        Share of the false boxes that are left.
    seed
        Chooses which: the same image and seed always give the same.
    """

    misses: float = 0.0
    accepts: float = 0.0
    seed: int = 0


CAREFUL = Carelessness()


@dataclass(frozen=True)
class Corrected:
    """What is submitted.

    Parameters
    ----------
    boxes
        Kept, moved and relabelled boxes first, then the added ones.
    served
        For each of them, the index of the served box that it was; None if it was drawn.
    missed, accepted
        Cells that were not drawn, and false boxes that were left (they count as kept).
    """

    boxes: tuple[Box, ...]
    served: tuple[int | None, ...]
    actions: Actions
    missed: int = 0
    accepted: int = 0


def correct(
    served: Sequence[Box],
    truth: Sequence[Box],
    name: str = "",
    carelessness: Carelessness = CAREFUL,
) -> Corrected:
    """Turn the served boxes into the truth, as far as carelessness allows.

    Parameters
    ----------
    name
        Identifies the image, such as its hash; seeds the carelessness.
    """
    pairs = pair(edges_of(served), edges_of(truth), PAIR_IOU)
    kept, actions = list[tuple[Box, int | None]](), Actions()
    for index, cell in sorted(pairs.items()):
        box, done = _treat(served[index], truth[cell])
        kept.append((box, index))
        actions += done
    rng = np.random.default_rng([carelessness.seed, *name.encode()])
    false = [index for index in range(len(served)) if index not in pairs]
    accepted = [i for i in false if rng.random() < carelessness.accepts]
    unserved = [cell for cell in range(len(truth)) if cell not in pairs.values()]
    drawn = [cell for cell in unserved if rng.random() >= carelessness.misses]
    kept += [(served[index], index) for index in accepted]
    kept += [(replace(truth[cell], score=None), None) for cell in drawn]
    actions += Actions(kept=len(accepted), deleted=len(false) - len(accepted), added=len(drawn))
    return Corrected(
        boxes=tuple(box for box, _ in kept),
        served=tuple(index for _, index in kept),
        actions=actions,
        missed=len(unserved) - len(drawn),
        accepted=len(accepted),
    )


def pair(served: Float32, truth: Float32, iou: float) -> dict[int, int]:
    """Pair boxes one to one, the greatest overlap first.

    Parameters
    ----------
    served, truth
        Shapes (N, 4) and (M, 4), pixels.

    Returns
    -------
    By index of each paired served box, the index of its true box.
    """
    overlaps = iou_matrix(served, truth)
    rows, columns = np.nonzero(overlaps >= iou)
    best_first = np.argsort(-overlaps[rows, columns], kind="stable")
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for row, column in zip(rows[best_first].tolist(), columns[best_first].tolist(), strict=True):
        if row not in pairs and column not in taken:
            pairs[row] = column
            taken.add(column)
    return pairs


def _treat(served: Box, cell: Box) -> tuple[Box, Actions]:
    moved = not _good_enough(served, cell)
    relabelled = served.label != cell.label
    box = replace(cell if moved else served, label=cell.label, score=served.score)
    untouched = not (moved or relabelled)
    return box, Actions(kept=int(untouched), moved=int(moved), relabelled=int(relabelled))


def _good_enough(served: Box, cell: Box) -> bool:
    off = max(abs(a - b) for a, b in zip(served.xyxy_px, cell.xyxy_px, strict=True))
    overlap = float(iou_matrix(edges_of([served]), edges_of([cell]))[0, 0])
    return overlap >= KEEP_IOU or off <= KEEP_PX
