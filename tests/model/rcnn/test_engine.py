"""What onnxruntime raises is told as others' errors are, and it keeps memory but once."""

import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from model.config import DetectorConfig
from model.rcnn.detector import load_detector
from model.rcnn.engine import FLOOR, INPUT, OUTPUTS, OnnxDetector
from preprocessing.prepare import Prepared

IMAGE = Prepared(np.zeros((8, 9), np.float32), 1.0, "all", 0.0, (), 8, 9)
#: More numbers than any machine can address.
TOO_MANY = 2**47


def failing(path, op, sizes):
    """Return a detector in whose file a node makes an array of these sizes, and fails."""
    graph = helper.make_graph(
        [
            helper.make_node(op, [INPUT, "sizes"], [OUTPUTS[0]]),
            *(helper.make_node("Identity", [FLOOR], [name]) for name in OUTPUTS[1:]),
        ],
        "failing",
        [
            helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["height", "width"]),
            helper.make_tensor_value_info(FLOOR, TensorProto.FLOAT, []),
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in OUTPUTS],
        [helper.make_tensor("sizes", TensorProto.INT64, [len(sizes)], sizes)],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return OnnxDetector(path, DetectorConfig(), ("cell",))


def test_memory_that_runs_out_is_told_as_that(tmp_path):
    detector = failing(tmp_path / "model.onnx", "Expand", [TOO_MANY, 1, 1])
    with pytest.raises(MemoryError, match="allocate memory"):
        detector.detect([IMAGE])


def test_any_other_failure_is_an_error_while_it_ran(tmp_path):
    detector = failing(tmp_path / "model.onnx", "Reshape", [7, 7])
    with pytest.raises(RuntimeError, match="Reshape"):
        detector.detect([IMAGE])


@pytest.mark.parametrize(
    "said", ["std::bad_alloc", "pthread_create failed: Cannot allocate memory"]
)
def test_memory_too_small_for_loading_is_not_told_as_a_broken_version(tmp_path, monkeypatch, said):
    def full(*_, **__):
        raise RuntimeError(said)

    monkeypatch.setattr("model.rcnn.engine.onnxruntime.InferenceSession", full)
    monkeypatch.setattr("model.rcnn.detector.build", full)
    with pytest.raises(MemoryError, match=said):
        OnnxDetector(tmp_path / "model.onnx", DetectorConfig(), ("cell",))
    with pytest.raises(MemoryError, match=said):
        load_detector(tmp_path / "weights.safetensors", DetectorConfig(), ("cell",), "cpu")


@pytest.mark.integration
def test_several_detectors_share_the_memory_that_they_keep():
    """In a process of its own: what others left free here could be taken."""
    script = """
import os
import numpy as np
from model.rcnn.engine import OnnxDetector
from model.keeping.starter import FOLDER
from model.keeping.version_folder import read_version
from preprocessing.prepare import Prepared

def held():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 2**20

pixels = np.zeros((1024, 1024), np.float32)
image = Prepared(pixels, 1.0, "all", 0.0, (), *pixels.shape)
kept = []
for _ in range(3):
    config = read_version(FOLDER).detector
    kept.append(OnnxDetector(FOLDER / "model.onnx", config, ("cell",), threads=1))
    kept[-1].detect([image])
    print(held())
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    first, _, third = map(int, done.stdout.split())
    assert third - first < 60
