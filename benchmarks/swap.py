"""From a milestone to the new champion's first answer: `python -m benchmarks.swap`.

`cytoloop up` runs on a new home with Label Studio, Redis and worker, on generated fields of
1280×1024 with at most 1,500 cells in all. The truth of twenty is submitted through Label Studio's
API; the clock runs from the last of them to the answer of /setup that names another version.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

from backend.labelstudio.interface import LabellingInterface
from backend.labelstudio.results import to_regions
from benchmarks.installation import Loop, wait_for
from model.boxes import Box
from model.generated.fields import HARD, generate_field
from preprocessing.images import encode_png

PROJECT = 1
IMAGES, CELLS, SHAPE = 20, 75, (1024, 1280)
WITHIN_S = 3600


def main() -> None:
    """Measure and print."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="cytoloop-") as home:
        loop = Loop(Path(home), {"CYTOLOOP_MILESTONES": str(IMAGES)})
        try:
            truth = make_fields(Path(home) / "fields")
            loop.up("--images", str(Path(home) / "fields"))
            print(f"{IMAGES} images, {sum(map(len, truth.values()))} cells; load {load:.1f} before")
            measure(loop, truth)
        finally:
            loop.stop()


def make_fields(folder: Path) -> dict[str, tuple[Box, ...]]:
    """Write the fields, and return the boxes of each by the hash of its file."""
    folder.mkdir()
    truth = {}
    for seed in range(IMAGES):
        field = generate_field(seed, SHAPE, CELLS, HARD, label="Nucleus")
        png = encode_png(field.pixels)
        (folder / f"field{seed:02}.png").write_bytes(png)
        truth[sha256(png).hexdigest()] = field.boxes
    return truth


def measure(loop: Loop, truth: dict[str, tuple[Box, ...]]) -> None:
    """Submit the truth, wait for the run and for what is served then, and print the times."""
    before = served(loop)
    submit(loop, truth)
    began = time.monotonic()
    run = wait_for(lambda: ended(loop), WITHIN_S, every_s=1)
    took = time.monotonic() - began
    print(f"run {run['state']} after {took:.0f} s: {'; '.join(run['reasons'])}")
    if run["state"] == "promoted":
        wait_for(lambda: served(loop) != before, WITHIN_S, every_s=0.2)
        print(f"{served(loop)} served after {time.monotonic() - began:.0f} s")
    print(f"load {os.getloadavg()[0]:.1f} after")


def submit(loop: Loop, truth: dict[str, tuple[Box, ...]]) -> None:
    studio = loop.label_studio
    interface = LabellingInterface.parse(studio.project(PROJECT)["label_config"])
    for task in list(studio.tasks(PROJECT)):
        boxes = truth[task["data"]["sha256"]]
        studio.create_annotation(task["id"], to_regions(boxes, SHAPE[1], SHAPE[0], interface))


def served(loop: Loop) -> str:
    """Return what /setup names."""
    answer = loop.session().post(f"{loop.address}/setup", json={"project": f"{PROJECT}.1"})
    answer.raise_for_status()
    return str(answer.json()["model_version"])


def ended(loop: Loop) -> dict[str, Any] | None:
    """Return the milestone's run once it has ended; asked by HTTP, for a command costs seconds."""
    answer = loop.session().get(f"{loop.address}/runs")
    answer.raise_for_status()
    over = (run for run in answer.json()["runs"] if run["state"] not in ("queued", "running"))
    return next(over, None)


if __name__ == "__main__":
    main()
