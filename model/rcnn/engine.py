"""The exported detector, run by onnxruntime: the same boxes in about half the time, no torch."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state

from model.boxes import Detections
from model.config import DetectorConfig
from model.errors import BrokenVersion, out_of_memory
from model.rcnn.detecting import as_detections
from preprocessing.prepare import Prepared

#: What goes into an exported detector and what comes out; see ``model.rcnn.graph.Graph.forward``.
INPUT, FLOOR = "image", "floor"
OUTPUTS = ("boxes", "scores", "labels", "caps")
_ERRORS_ONLY = 3
#: onnxruntime's own errors, which have no common class but Exception.
_ITS_ERRORS = tuple(
    one
    for one in vars(onnxruntime_pybind11_state).values()
    if isinstance(one, type) and issubclass(one, Exception)
)


class OnnxDetector:
    """A Faster R-CNN that was exported by ``model.rcnn.export``, on the CPU.

    Parameters
    ----------
    path
        The ONNX file.
    config
        What it was built from; caps on proposals and the floor of scores are part of the file.
    classes
        Names of the classes, in label order.
    threads
        0: as many as ``OMP_NUM_THREADS`` says, which torch obeys too, else one for each CPU that
        this process may use.

    Raises
    ------
    BrokenVersion
        When the file is missing or truncated, or is no detector of ours.
    MemoryError
        When there is too little memory to load it.
    """

    def __init__(
        self, path: Path, config: DetectorConfig, classes: tuple[str, ...], threads: int = 0
    ) -> None:
        self.config = config
        self.classes = classes
        self._session = _open(path, threads or default_threads())
        self._floor = config.proposal_floor

    def detect(self, images: Sequence[Prepared]) -> list[Detections]:
        """Find the cells of each image; see ``model.rcnn.detecting.Detector``.

        Raises
        ------
        MemoryError
            An image needs more memory than there is.
        RuntimeError
            onnxruntime fails on an image otherwise.
        """
        return [self._detect(image) for image in images]

    def sparing(self, floor: float) -> OnnxDetector:
        """Return it with another floor of proposals; see ``model.rcnn.detecting.Sparing``."""
        other = copy.copy(self)
        other._floor = floor
        return other

    def _detect(self, image: Prepared) -> Detections:
        pixels = np.ascontiguousarray(image.pixels, np.float32)
        given = {INPUT: pixels, FLOOR: np.array(self._floor, np.float32)}
        try:
            boxes, scores, labels, capped = self._session.run(OUTPUTS, given)
        except _ITS_ERRORS as error:
            raise (MemoryError if out_of_memory(error) else RuntimeError)(str(error)) from error
        return as_detections(boxes, scores, labels, capped, self.config, self.classes)


def default_threads() -> int:
    """Return how many threads a detector may use when nobody says."""
    # OpenMP takes a list too, a number for each level of nesting; the first level is ours.
    given = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if given.isdecimal() and int(given) > 0:
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _share_memory() -> None:
    """Keep one arena for all detectors of this process; each would keep its own for ever."""
    info = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    with suppress(*_ITS_ERRORS):  # there is one: another thread was sooner
        onnxruntime.create_and_register_allocator(info, None)


def _open(path: Path, threads: int) -> onnxruntime.InferenceSession:
    _share_memory()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = _ERRORS_ONLY
    # Threads that wait by spinning would take the CPU from the training beside them.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.use_env_allocators", "1")
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no common class, and each means the same here
        if out_of_memory(error):
            raise MemoryError(f"{path} cannot be loaded: {error}") from error
        raise BrokenVersion(f"{path} holds no exported detector: {error}") from error
    takes, gives = (
        tuple(node.name for node in nodes)
        for nodes in (session.get_inputs(), session.get_outputs())
    )
    if takes != (INPUT, FLOOR) or gives != OUTPUTS:
        raise BrokenVersion(f"{path} is no detector of ours: it takes {takes} and gives {gives}")
    return session
