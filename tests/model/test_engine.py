"""What onnxruntime raises while an exported detector looks is told as others' errors are."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from model.config import DetectorConfig
from model.engine import FLOOR, INPUT, OUTPUTS, OnnxDetector
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
