"""What a training step costs on a busy machine: `python -m benchmarks.threads`.

The default detector trains a few steps on generated fields in a process of its own, while another
keeps a core busy: with one thread, with threads that sleep at barriers (`model.training.threads`),
and with threads that spin, OpenMP's own way.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STEPS = 12
LIMIT_S = 300
WAYS = {
    "one thread": {"OMP_NUM_THREADS": "1"},
    "sleeping threads": {"OMP_WAIT_POLICY": "PASSIVE"},
    "spinning threads": {"OMP_WAIT_POLICY": "ACTIVE"},
}


def main() -> None:
    """Measure each way beside a busy process and print wall and CPU seconds a step."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        for name, variables in WAYS.items():
            done = subprocess.run(
                [sys.executable, "-c", "from benchmarks.threads import steps; steps()"],
                env={**os.environ, **variables},
                capture_output=True,
                text=True,
                timeout=LIMIT_S,
                check=True,
            )
            print(f"{name:<18}{done.stdout.strip()}", flush=True)
    finally:
        busy.kill()
        busy.wait()


def steps() -> None:
    """Train a few steps and print what one took."""
    import tifffile

    from model.config import DetectorConfig, TrainConfig
    from model.generated.fields import MEDIUM, generate_field
    from model.labels.examples import DatasetSnapshot, LabelledImage
    from model.rcnn.anchors import resolve
    from model.training.train import train
    from preprocessing.groups import ContrastGroups

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = []
        for seed in range(4):
            field = generate_field(seed, (256, 320), 30, MEDIUM)
            tifffile.imwrite(folder / f"{seed}.tif", field.pixels)
            images.append(LabelledImage(folder / f"{seed}.tif", str(seed), field.boxes))
        snapshot = DatasetSnapshot(tuple(images), ("Nucleus",))
        detector = resolve(DetectorConfig(), snapshot)
        training = TrainConfig(iterations=STEPS)
        began, cpu = time.perf_counter(), time.process_time()
        groups = ContrastGroups.none()
        train(snapshot, groups, detector, training, None, folder / "training", "cpu")
        wall, used = time.perf_counter() - began, time.process_time() - cpu
    print(f"{wall / STEPS:6.2f} s a step, {used / STEPS:6.2f} s of CPU")


if __name__ == "__main__":
    main()
