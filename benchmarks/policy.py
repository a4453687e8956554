"""What a display threshold is worth: `python -m benchmarks.policy bccd --out DIR`.

For each set and seed versions are trained as the loop does at 5, 10, 20 and 40 corrected images,
each from the one before, and what they find is kept: in the images of the inner side, in those
that taught, and in up to 40 that come after. On paper an annotator then corrects the latter, shown
boxes by several policies: as they are served, and by alternatives. The last is the threshold that
turns out best by the truth of those images, among 30 and those that the others chose.

`--start starters/no_{set}` begins with a starter that has not seen a set (`benchmarks.starter
--only`) and plays all images. Without it the shipped one begins, and only the images that it has
not learned from are played: its test sides. Run again with the same `--out`, it goes on; what began
with another starter, or by another recipe, is trained and found anew.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from backend.actions import Actions, Costs
from backend.datasets.writing import write_whole
from backend.learning.showing import tell_enough, told_by
from backend.replay.correcting import correct
from benchmarks.beginning import keep_starter
from benchmarks.real_images import real_images
from benchmarks.sides import SETS
from model.boxes import Box, Detections
from model.config import PRESETS
from model.judging.calibration import calibrate
from model.judging.counting import counting_threshold, pairs_of
from model.judging.pairing import Pairs
from model.judging.policy import Policy, saves_time_from
from model.keeping.registry import Registry
from model.keeping.starter import STARTER_ID
from model.labels.examples import DatasetSnapshot, LabelledImage
from model.labels.likeness import fingerprint_of, group_alike
from model.labels.sides import content_hash, decide_sides
from model.learning.candidate import make_candidate
from model.looking.loaded import LoadedVersion
from model.versions import ModelVersion
from preprocessing.arrays import Float32

MILESTONES = (5, 10, 20, 40)
COMING = 40
FEWEST_COMING = 5
COSTS = Costs()
HALF, BEST_F1, COUNTED, KNOWING = "0.5", "best F1", "as counted", "afterwards"
LEAST, SERVED = "least time", "served"
#: Tried for the best one afterwards, beside those of other ways.
THRESHOLDS = np.linspace(0.03, 0.9, 30)


@dataclass(frozen=True)
class Seen:
    """One image, and what a version found in it."""

    image: LabelledImage
    found: Detections
    group: str


def main() -> None:
    """Train and find what is not there yet, then play."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="*", default=list(SETS))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--start", help="folder of a starter, such as starters/no_{set}")
    parser.add_argument("--images", type=int, default=40, help="the last milestone")
    parser.add_argument("--table", action="store_true", help="play what is there alone")
    arguments = parser.parse_args()
    if not arguments.table:
        for seed in arguments.seeds:
            for name in arguments.sets:
                find(name, seed, arguments)
    print_table(arguments.out)


def find(name: str, seed: int, arguments: argparse.Namespace) -> None:
    """Train the versions of one project and keep what they find."""
    out = arguments.out / f"{name}-{seed}"
    registry = Registry(out / "registry", STARTER_ID)
    start = arguments.start and Path(arguments.start.format(set=name))
    champion = keep_starter(start, registry) if start else registry.get(STARTER_ID)
    images, classes = drawn(name, seed, champion)
    for number in MILESTONES:
        if number > arguments.images or number + FEWEST_COMING > len(images):
            break
        snapshot = DatasetSnapshot(with_sides(images[:number]), classes)
        champion = learned(registry, snapshot, champion, out / "training")
        path = out / f"{number}.json"
        if not is_of(path, champion):
            for later in (out / f"{after}.json" for after in MILESTONES if after >= number):
                later.unlink(missing_ok=True)  # of a version that went on from another
            coming = images[number : number + COMING]
            found = found_in(registry.load(champion.id, "cpu"), snapshot, coming)
            kept = {"version": champion.to_json(), "found": found}
            write_whole(path, json.dumps(kept).encode())
        print(name, seed, number, champion.id, flush=True)


def is_of(path: Path, version: ModelVersion) -> bool:
    """Say whether a file holds what this very version finds."""
    if not path.exists():
        return False
    return bool(json.loads(path.read_text("utf-8"))["version"]["id"] == version.id)


def drawn(
    name: str, seed: int, champion: ModelVersion
) -> tuple[list[LabelledImage], tuple[str, ...]]:
    """Return a set's images that a version has not seen, in an order of the seed."""
    data = real_images(name)
    images = [i for i in (*data.rest, *data.test) if i.sha256 not in champion.lineage]
    order = np.random.default_rng(seed).permutation(len(images))
    by_hash = sorted(images, key=lambda image: image.sha256)
    return [by_hash[place] for place in order], data.classes


def with_sides(images: Sequence[LabelledImage]) -> tuple[LabelledImage, ...]:
    """Return the images that have a side, as a run would freeze them."""
    groups = group_alike([fingerprint_of(image.read().pixels) for image in images])
    hashes = [content_hash(*image.key) for image in images]
    sides = decide_sides(hashes, [None] * len(images), groups)
    return tuple(replace(i, side=s) for i, s in zip(images, sides, strict=True) if s)


def learned(
    registry: Registry, snapshot: DatasetSnapshot, champion: ModelVersion, workdir: Path
) -> ModelVersion:
    """Return what today's default recipe makes of a snapshot and a champion; train it at need."""
    made = [
        version
        for version in registry.list()
        if version.snapshot == snapshot.sha256
        and version.parent == champion.id
        and version.is_by(*PRESETS["default"])
    ]
    if made:
        return made[-1]
    return make_candidate(
        snapshot,
        registry,
        workdir=workdir / snapshot.sha256[:12],
        champion=champion,
        device="cpu",
        with_report=False,
    )


def found_in(
    loaded: LoadedVersion, snapshot: DatasetSnapshot, coming: Sequence[LabelledImage]
) -> dict[str, Any]:
    parts = {side: snapshot.of_side(side) for side in ("train", "inner")} | {"coming": coming}
    return {part: [_to_json(loaded, image) for image in images] for part, images in parts.items()}


def _to_json(loaded: LoadedVersion, image: LabelledImage) -> dict[str, Any]:
    (found,) = loaded.find([image.read()])
    boxes = found.detections
    return {
        "image": image.to_json(),
        "group": found.prepared.group,
        "classes": boxes.classes,
        "xyxy_px": boxes.xyxy_px.tolist(),
        "scores": boxes.scores.tolist(),
        "labels": boxes.labels.tolist(),
    }


def _seen(values: dict[str, Any]) -> Seen:
    edges = np.array(values["xyxy_px"], np.float32).reshape(-1, 4)
    scores, labels = np.array(values["scores"], np.float32), np.array(values["labels"], np.int64)
    found = Detections(edges, scores, labels, tuple(values["classes"]))
    return Seen(LabelledImage.from_json(values["image"]), found, values["group"])


def print_table(out: Path) -> None:
    """Print seconds and actions a cell by each way of showing boxes, and in parts of others'."""
    shares: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    title = ""
    for path in sorted(out.glob("*/*.json"), key=lambda p: (p.parent.name, int(p.stem))):
        played = play(json.loads(path.read_text("utf-8")))
        heading = "  ".join(f"{name:>12}" for name in played)
        if heading != title:
            print(f"{'':26}{heading}")
            title = heading
        for figure in ("seconds", "actions"):
            of_all = {name: getattr(work, figure) for name, work in played.items()}
            named = f"{path.parent.name} {path.stem} {figure}"
            print(f"{named:26}" + "  ".join(f"{value:12.3f}" for value in of_all.values()))
            for name, value in of_all.items():
                for other in {HALF, BEST_F1, LEAST} - {name}:
                    shares[figure, name, other].append(value / of_all[other] - 1)
    for (figure, name, other), each in shares.items():
        named = f"{figure}, {name} against {other}"
        print(f"{named:44} {np.mean(each):+.1%} ({min(each):+.1%} to {max(each):+.1%})")


@dataclass(frozen=True)
class Work:
    """What correcting images takes, a cell."""

    seconds: float
    actions: float


def play(kept: dict[str, Any]) -> dict[str, Work]:
    """Return what each way of showing boxes takes in the coming images."""
    parts = {part: [_seen(each) for each in seen] for part, seen in kept["found"].items()}
    policies = policies_of(parts, ModelVersion.from_json(kept["version"]).threshold)
    return {name: work_of(policy, parts["coming"]) for name, policy in policies.items()}


def policies_of(parts: dict[str, list[Seen]], counted: float) -> dict[str, Policy]:
    """Return each way of showing a version's boxes.

    Parameters
    ----------
    counted
        The version's own threshold, which its training chose.
    """
    inner = parts["inner"]
    known = inner or parts["train"]
    right_s = _seconds_of_right(Policy(counted), known)
    least = saves_time_from(COSTS.add_s, COSTS.delete_s, right_s)
    best_f1 = Policy(best_f1_threshold(known))
    plain = {HALF: Policy(0.5), BEST_F1: best_f1, COUNTED: Policy(counted)}
    ways = plain | {
        "as scored": Policy(counted, least),
        "as taught": fitted(counted, least, parts["train"]),
        "isotonic": Policy(counted),
        LEAST: Policy(counted),
        SERVED: Policy(counted),
    }
    if tell_enough([one.image for one in inner]):
        ways["isotonic"] = Policy(min(isotonic_threshold(_pairs(inner), least), counted))
        ways[LEAST] = fitted(counted, least, inner)
        groups = [one.group for one in inner]
        ways[SERVED] = told_by(_pairs(inner), groups, counted, COSTS, right_s)
    thresholds = [*plain.values(), ways["isotonic"]]
    return ways | {KNOWING: best_afterwards(parts["coming"], thresholds)}


def fitted(counted: float, least: float, seen: Sequence[Seen]) -> Policy:
    calibration = calibrate(_pairs(seen), [one.group for one in seen])
    return Policy(counted, least, calibration)


def best_f1_threshold(seen: Sequence[Seen]) -> float:
    """Return the threshold of the best F1, however far off the count is."""
    found, images = [one.found for one in seen], [one.image for one in seen]
    return counting_threshold(found, images, as_good=0.0)


def best_afterwards(coming: Sequence[Seen], others: Sequence[Policy]) -> Policy:
    """Return the one threshold that turns out to take the least time, the others' among them."""
    policies = [*others, *(Policy(float(score)) for score in THRESHOLDS)]
    return min(policies, key=lambda policy: work_of(policy, coming).seconds)


def isotonic_threshold(pairs: Pairs, least: float) -> float:
    """Return the score from which the isotonic curve (pool adjacent violators) is high enough."""
    order = np.argsort(pairs.scores, kind="stable")
    pools: list[tuple[float, int]] = []  # share right, boxes; from the lowest score on
    for right in pairs.right[order].astype(float).tolist():
        share, boxes = right, 1
        while pools and pools[-1][0] >= share:
            before, more = pools.pop()
            share = (share * boxes + before * more) / (boxes + more)
            boxes += more
        pools.append((share, boxes))
    likely: Float32 = np.repeat([p[0] for p in pools], [p[1] for p in pools]).astype(np.float32)
    shown = pairs.scores[order][likely >= least]
    return float(shown.min()) if len(shown) else 1.0


def _pairs(seen: Sequence[Seen]) -> Pairs:
    return pairs_of([one.found for one in seen], [one.image for one in seen])


def _actions(policy: Policy, seen: Sequence[Seen]) -> Actions:
    done = Actions()
    for one in seen:
        boxes: list[Box] = policy.shown(one.found, one.group).boxes()
        done += correct(boxes, one.image.boxes).actions
    return done


def work_of(policy: Policy, seen: Sequence[Seen]) -> Work:
    """Return what correcting the boxes that a policy shows takes."""
    cells, done = sum(len(one.image.boxes) for one in seen), _actions(policy, seen)
    return Work(COSTS.seconds(done, len(seen)) / cells, done.number / cells)


def _seconds_of_right(policy: Policy, seen: Sequence[Seen]) -> float:
    cells = sum(len(one.image.boxes) for one in seen)
    return COSTS.seconds_of_right(_actions(policy, seen), cells)


if __name__ == "__main__":
    main()
