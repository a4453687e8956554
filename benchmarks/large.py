"""What a large image costs in memory and time: `python -m benchmarks.large`.

Prints, for a process of its own for each: the memory that it held at the most while an image of
that size was prepared, and while it was prepared and looked at by the default detector (fresh
weights, which find far more than any trained ones: the worst case) or the classical one, on one
thread. Minutes on one core; `--sizes 3000x4000` for fewer.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

from model.config import DetectorConfig
from model.looking.loaded import LoadedVersion
from model.versions import ModelVersion
from preprocessing.groups import ContrastGroups
from preprocessing.images import ImageRecord
from preprocessing.prepare import prepare, rescaled

SIZES = ("1024x1280", "3000x4000", "6000x8000")
WAYS = ("prepare", "prepare at scale 0.6", "classical", "torch", "torch at scale 3")


def main() -> None:
    """Measure each in a child: the peak of a process never falls."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=SIZES)
    parser.add_argument("--ways", nargs="+", default=WAYS, choices=WAYS)
    parser.add_argument("--child", action="store_true")
    options = parser.parse_args()
    if options.child:
        measure(options.ways[0], options.sizes[0])
        return
    for way in options.ways:
        for size in options.sizes:
            command = [sys.executable, "-m", "benchmarks.large", "--child"]
            subprocess.run([*command, "--ways", way, "--sizes", size], check=True)


def measure(way: str, size: str) -> None:
    height, width = (int(side) for side in size.split("x"))
    image = noise(height, width)
    look = looking(way)
    look(noise(64, 64))
    before, start = held_mib(), time.perf_counter()
    look(image)
    seconds = time.perf_counter() - start
    print(
        f"{way:<21} {size:>10}: {held_mib():5.0f} MiB at the most,"
        f" {before:.0f} with the image read, {seconds:.1f} s",
        flush=True,
    )


def looking(way: str) -> Callable[[ImageRecord], object]:
    """Return what is done with an image."""
    if way.startswith("prepare"):
        scale = 0.6 if way.endswith("0.6") else 1.0
        return lambda image: rescaled(prepare(image, ContrastGroups.none()), scale)
    if way == "classical":
        version = _classical_version()
    else:
        version = _torch_version(3.0 if way.endswith("3") else 1.0)
    return lambda image: version.find([image])


def _classical_version() -> LoadedVersion:
    from model.classical.detector import ClassicalDetector, classical_version

    return LoadedVersion(classical_version(), ContrastGroups.none(), ClassicalDetector())


def _torch_version(scale: float) -> LoadedVersion:
    import torch

    from model.rcnn.detector import TorchDetector, build

    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = DetectorConfig(scale=scale, anchor_sizes=(24.0, 36.0, 48.0, 64.0))
    detector = TorchDetector(build(config, ("cell",)), config, ("cell",), "cpu")
    version = ModelVersion("fresh", "trained", ("cell",), 0.5, config)
    return LoadedVersion(version, ContrastGroups.none(), detector)


def noise(height: int, width: int) -> ImageRecord:
    levels = np.random.default_rng(0).integers(0, 256, (min(height, 1000), 1000), np.uint8)
    repeats = height // len(levels) + 1, width // 1000 + 1
    return ImageRecord(np.ascontiguousarray(np.tile(levels, repeats)[:height, :width]), "0")


def held_mib() -> float:
    """Return the most that this process has held, in MiB (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
