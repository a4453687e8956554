"""How well boxes count cells."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model.reports import CountReport


def count_report(predicted: Sequence[int], true: Sequence[int]) -> CountReport:
    """Compare counts, one of each for an image.

    Where no image has a cell, the errors are relative to one cell: a false box then counts as 1.
    """
    off = np.asarray(predicted) - np.asarray(true)
    cells = np.asarray(true)
    total = max(int(cells.sum()), 1)
    relative = np.abs(off[cells > 0]) / cells[cells > 0]
    return CountReport(
        true=int(cells.sum()),
        predicted=int(np.sum(predicted)),
        error=float(np.abs(off).sum() / total),
        bias=float(off.sum() / total),
        median_error=float(np.median(relative)) if len(relative) else 0.0,
    )
