"""The whole loop on real images, over HTTP: `python -m benchmarks.loop bccd usiigaci`.

`cytoloop up` runs on a new home with Label Studio, Redis and worker. The images of the set's
teaching side are imported, the truth is submitted through Label Studio's API image by image, and
at each milestone the run is waited for. Printed: what the gate said on the loop's own held-out
images, and AP50 of each champion on images of the set's test side, which the loop never saw.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from backend.datasets.label_config import label_config_of
from backend.labelstudio.interface import LabellingInterface
from backend.labelstudio.results import to_regions
from benchmarks.installation import Loop, wait_for
from benchmarks.real_images import RealImages, link_folder, real_images, spread
from benchmarks.sides import SETS
from model.classical.detector import CLASSICAL_ID
from model.judging.evaluation import evaluate_version
from model.keeping.registry import Registry

MILESTONES = (5, 10, 20)
IMAGES = 24
JUDGED_ON = 20
RUN_WITHIN_S = 3600
PROJECT = 1


def main() -> None:
    """Run the sets named on the command line, one after another."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("sets", nargs="+", choices=SETS)
    for name in arguments.parse_args().sets:
        with tempfile.TemporaryDirectory(prefix="cytoloop-") as home:
            live(real_images(name), Path(home))


def live(data: RealImages, home: Path) -> None:
    """Live the loop on one set and print how the champion gets better."""
    # The starter has learned from these very sets: the loop begins from nothing.
    settings = {"CYTOLOOP_FIRST_VERSION": CLASSICAL_ID}
    loop = Loop(home, settings | {"CYTOLOOP_MILESTONES": ",".join(map(str, MILESTONES))})
    config = home / "label_config.xml"
    config.write_text(label_config_of(data.classes), "utf-8")
    loop.environment["CYTOLOOP_LABEL_CONFIG"] = str(config)
    images = spread(data.rest, IMAGES)
    judging = len(spread(data.test, JUDGED_ON))
    print(f"{data.name}: classes {', '.join(data.classes)}; judged on {judging} unseen images")
    try:
        loop.up("--images", str(link_folder(images, home / data.name)))
        print(f"  before: {judged(loop, data)}", flush=True)
        for run, seconds in runs(loop, data):
            print(f"  at {run['milestone']} corrected, {seconds:.0f} s: {run['state']}")
            print(f"    gate: {'; '.join(run['reasons'])}")
            print(f"    {judged(loop, data)}", flush=True)
    finally:
        loop.stop()


def runs(loop: Loop, data: RealImages) -> Iterator[tuple[dict[str, Any], float]]:
    """Submit the truth, task by task; yield each run that ended and how long it was waited for."""
    studio = loop.label_studio
    truth = {image.sha256: image for image in data.rest}
    interface = LabellingInterface.parse(studio.project(PROJECT)["label_config"])
    for number, task in enumerate(list(studio.tasks(PROJECT)), start=1):
        image = truth[task["data"]["sha256"]]
        raw = image.read()
        regions = to_regions(image.boxes, raw.width, raw.height, interface)
        studio.create_annotation(task["id"], regions)
        if number in MILESTONES:
            began = time.monotonic()
            run = wait_for(lambda at=number: ended(loop, at), RUN_WITHIN_S, every_s=2)  # type: ignore[misc]
            yield run, time.monotonic() - began


def ended(loop: Loop, milestone: int) -> dict[str, Any] | None:
    """Return the run of a milestone once it has ended."""
    (project,) = loop.status()["projects"]
    over = (r for r in project["runs"] if r["state"] not in ("queued", "running"))
    return next((r for r in over if r["milestone"] == milestone), None)


def judged(loop: Loop, data: RealImages) -> str:
    """Return what the project's champion is worth on images that the loop never sees."""
    registry = Registry(loop.home / "registry")
    champion = registry.champion(str(PROJECT))
    report = evaluate_version(
        registry.load(champion.id), spread(data.test, JUDGED_ON), data.classes
    )
    return (
        f"{champion.kind}: AP50 {report.mean.ap50:.3f} (any class {report.any_class.ap50:.3f}), "
        f"count error {report.count.error:.1%}"
    )


if __name__ == "__main__":
    main()
