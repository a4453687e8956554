"""Where the time of an exported detector goes: `python -m benchmarks.profile`.

The shipped starter, or any exported file (`--model`), looks at images of 1280×1024 laid with
teaching images of each set at scale 1, one thread, under onnxruntime's own profiler. Printed for
each set: milliseconds and share of each part, an operation's time being its least of `--looks`.
These are wall times: leave the machine alone.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from benchmarks.backbones.trials import LARGE, mosaic
from benchmarks.real_images import real_images, spread
from benchmarks.sides import SETS
from model.config import DetectorConfig
from model.keeping.starter import FOLDER
from model.keeping.version_folder import EXPORTED
from model.rcnn.engine import FLOOR, INPUT
from preprocessing.groups import ContrastGroups
from preprocessing.prepare import prepare

PARTS = ("backbone", "pyramid", "RPN head", "NMS", "pooling", "box head", "refining", "rest")
#: Images of a set that one of 1280×1024 is laid with.
LAID_WITH = 3


def main() -> None:
    """Print a line for each set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=FOLDER / EXPORTED)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--looks", type=int, default=5)
    options = parser.parse_args()
    for name in options.sets:
        parts = times(options.model, laid_with(name), options.looks)
        total = sum(parts.values())
        said = ", ".join(f"{part} {parts[part]:.0f} ({parts[part] / total:.0%})" for part in PARTS)
        print(f"{name}: {total:.0f} ms: {said}", flush=True)


def laid_with(name: str) -> np.ndarray:
    """Return an image laid with some of a set's teaching images."""
    images = spread(real_images(name).rest, LAID_WITH)
    seen = [prepare(image.read(), ContrastGroups.none()) for image in images]
    return np.ascontiguousarray(mosaic(seen, LARGE).pixels, np.float32)


def times(model: Path, pixels: np.ndarray, looks: int) -> dict[str, float]:
    """Return the milliseconds of each part."""
    events = profiled(model, pixels, looks + 1)
    taken: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("kernel_time"):
            taken[event["name"], event["args"]["op_name"]].append(event["dur"] / 1e3)
    parts: dict[str, float] = defaultdict(float)
    for (name, operation), ms in taken.items():
        parts[part_of(name, operation)] += min(ms[1:], default=0.0)  # the first makes room for all
    return parts


def profiled(model: Path, pixels: np.ndarray, looks: int) -> list[dict[str, Any]]:
    """Return what onnxruntime's profiler wrote of so many looks at an image."""
    with tempfile.TemporaryDirectory(prefix="cytoloop-profile-") as folder:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder, "looks"))
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        given = {INPUT: pixels, FLOOR: np.array(DetectorConfig.proposal_floor, np.float32)}
        taken = {node.name: given[node.name] for node in session.get_inputs()}
        for _ in range(looks):
            session.run(None, taken)
        events: list[dict[str, Any]] = json.loads(Path(session.end_profiling()).read_text("utf-8"))
    return events


def part_of(name: str, operation: str) -> str:
    """Return the part that an operation belongs to, by its name in the graph."""
    for path, part in (("/backbone/body", "backbone"), ("/backbone/fpn", "pyramid")):
        if path in name:
            return part
    if operation == "NonMaxSuppression":
        return "NMS"
    if name.startswith("/head/"):
        return "RPN head"
    if "/describe_found" in name or "/refiner" in name:
        return "refining"
    if "Gemm" in operation:
        return "box head"
    return "pooling" if operation == "RoiAlign" or "/describe" in name else "rest"


if __name__ == "__main__":
    main()
