"""From a PyTorch detector to a file that onnxruntime runs, kept only where both agree."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch.jit import TracerWarning  # type: ignore[attr-defined]

from model.atomic import new_file
from model.boxes import Detections
from model.errors import ExportFailed
from model.rcnn.detecting import Detector
from model.rcnn.detector import TorchDetector
from model.rcnn.engine import FLOOR, INPUT, OUTPUTS, OnnxDetector
from model.rcnn.graph import Graph
from preprocessing.prepare import Prepared

#: How far an exported detector may be from PyTorch: pixels of the prepared image, and score.
BOX_PX, SCORE = 0.5, 0.01
#: Share of the boxes that may lack a partner. NMS decides by overlap, and where one is within
#: rounding of the limit two engines may decide otherwise; a single box always may.
_UNPAIRED = 0.01
_OPSET = 17
#: Height and width at which the graph is traced: no image's, so that samples show sizes to be free.
_TRACED_AT = (70, 102)


def export(detector: TorchDetector, path: Path, samples: Iterable[Prepared]) -> OnnxDetector:
    """Write ``detector`` as an ONNX file that takes images of any size.

    Convolutions and their batch normalisation become one, and NMS is part of the graph. The file is
    kept only where it finds in the samples what PyTorch finds in float32.

    Parameters
    ----------
    samples
        Prepared images to compare on, such as those that the detector learned from; of a large one
        its middle tile (``model.looking.tiling.middle_tile``): no more of it is ever seen at once.

    Returns
    -------
    The exported detector, loaded.

    Raises
    ------
    ExportFailed
        When both do not find the same.
    """
    module = copy.deepcopy(detector.module).cpu()
    reference = TorchDetector(module, detector.config, detector.classes, "cpu")
    with new_file(path) as partial:
        _write(reference, partial)
        exported = OnnxDetector(partial, detector.config, detector.classes)
        _compare(reference, exported, samples)
    return exported


def unpaired(one: Detections, other: Detections) -> int:
    """Return how many boxes of either have no partner among the other's.

    A partner is of the same class, its edges are within ``BOX_PX`` and its score within ``SCORE``.
    """
    apart_px = np.abs(one.xyxy_px[:, None] - other.xyxy_px[None]).max(axis=2)
    apart = np.abs(one.scores[:, None] - other.scores[None])
    same = (apart_px <= BOX_PX) & (apart <= SCORE) & (one.labels[:, None] == other.labels[None])
    return int((~same.any(axis=1)).sum() + (~same.any(axis=0)).sum())


def _compare(reference: Detector, exported: Detector, samples: Iterable[Prepared]) -> None:
    boxes = alone = 0
    for sample in samples:
        (one,), (other,) = reference.detect([sample]), exported.detect([sample])
        if (caps := list(other.caps_reached)) != list(one.caps_reached):
            raise ExportFailed(f"caps {caps} instead of {list(one.caps_reached)}")
        boxes += len(one) + len(other)
        alone += unpaired(one, other)
    if alone > max(2, _UNPAIRED * boxes):
        raise ExportFailed(f"{alone} of {boxes} boxes are not those that PyTorch finds")


def _write(detector: TorchDetector, path: Path) -> None:
    image = torch.rand(_TRACED_AT, generator=torch.Generator().manual_seed(0))
    sizes = {name: {0: name} for name in OUTPUTS[:-1]}
    with torch.no_grad(), _as_legacy():
        torch.onnx.export(
            Graph(detector.module, detector.config).eval(),
            (image, torch.tensor(detector.config.proposal_floor)),
            str(path),
            dynamo=False,
            opset_version=_OPSET,
            input_names=[INPUT, FLOOR],
            output_names=list(OUTPUTS),
            dynamic_axes={INPUT: {0: "height", 1: "width"}, **sizes},
        )


@contextmanager
def _as_legacy() -> Iterator[None]:
    """Silence PyTorch's warnings about its older exporter and about constants in a trace.

    The newer exporter cannot export NMS. The constants that the tracer warns of are intended; that
    the result holds at any size is shown by the samples.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "You are using the legacy", DeprecationWarning)
        warnings.filterwarnings("ignore", "The feature will be removed", DeprecationWarning)
        warnings.filterwarnings("ignore", category=TracerWarning)
        yield
