"""What a training step costs on an idle and on a busy machine: `python -m benchmarks.threads`.

The default detector trains a few steps on generated fields in a process of its own, alone and while
another keeps a core busy: with one thread, with threads that sleep at barriers at once, that soon
sleep (`model.threads`), and that spin, OpenMP's own way; and by two processes that share
each batch and the threads, as in a training of some length (`model.training.parallel`).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from model.threads import SPINS, WAIT_POLICY

STEPS, IMAGES = 40, 4
LIMIT_S = 300
#: What the environment says, and how many processes train.
WAYS: dict[str, tuple[dict[str, str], int]] = {
    "one thread": ({"OMP_NUM_THREADS": "1"}, 1),
    "asleep at once": ({"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}, 1),
    "soon asleep": ({}, 1),
    "spinning": ({"OMP_WAIT_POLICY": "ACTIVE"}, 1),
    "two processes": ({}, 2),
}


def main() -> None:
    """Measure each way and print seconds a step."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    print("alone")
    measure()
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        print("beside a busy process")
        measure()
    finally:
        busy.kill()
        busy.wait()


def measure() -> None:
    as_found = {key: value for key, value in os.environ.items() if key not in (WAIT_POLICY, SPINS)}
    for name, (variables, processes) in WAYS.items():
        done = subprocess.run(
            [sys.executable, "-c", f"from benchmarks.threads import steps; steps({processes})"],
            env={**as_found, **variables},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=True,
        )
        print(f"  {name:<16}{done.stdout.strip()}", flush=True)


def steps(processes: int) -> None:
    """Train a few steps and print what one took by the clock."""
    from model.threads import wait_quietly

    wait_quietly()  # before torch is loaded
    from benchmarks.generated import labelled_field
    from model.boxes import CELL
    from model.config import DetectorConfig, TrainConfig
    from model.generated.fields import MEDIUM
    from model.labels.examples import DatasetSnapshot
    from model.progress import Progress
    from model.rcnn.anchors import resolve
    from model.training.train import train
    from preprocessing.groups import ContrastGroups

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = tuple(
            labelled_field(folder, seed, (256, 320), 30, MEDIUM) for seed in range(IMAGES)
        )
        snapshot = DatasetSnapshot(images, (CELL,))
        detector = resolve(DetectorConfig(), snapshot)
        training = TrainConfig(iterations=STEPS)
        times: list[tuple[int, float]] = []

        def note(now: Progress) -> None:
            times.append((now.iteration, time.perf_counter()))

        train(
            snapshot,
            ContrastGroups.none(),
            detector,
            training,
            workdir=folder / "training",
            device="cpu",
            on_progress=note,
            processes=processes,
        )
    # What comes before the first report makes room for all.
    steps, wall = (end - begin for begin, end in zip(times[0], times[-1], strict=True))
    print(f"{wall / steps:6.3f} s a step")


if __name__ == "__main__":
    main()
