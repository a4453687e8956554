"""Does it pay to choose which image comes next? `python -m benchmarks.order --out DIR`.

Of each set 60 images are drawn by a seed and corrected by the in-process replay, in one order or
another: all of them, so that the work is on the same images and what differs is what each version
has learned from; or as many as a lab has time for (`--corrected 20`), where AP is what compares.
Every version that served is judged on images of the set's test side.

One process plays one set in one order (`--sets bccd --orders random --seeds 0`), so that many go
side by side with the same `--out`; run again it goes on. `--table` compares every order with the
random one, paired by seed. `--start starters/no_{set}` begins with a starter that has not seen a
set (`benchmarks.starter --only`); else the classical detector does, and trainings from nothing.
With other settings it neither goes on nor takes what is done for done: choose another `--out`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
from scipy.stats import t

from backend.datasets.writing import write_whole
from backend.errors import BadRequest
from backend.logs import configure_logging
from backend.replay.ledger import TABLE, Ledger, effort_of_rows, seconds_a_cell
from backend.replay.paper import PaperDesk, PaperServices, lay_out, paper_loop, start_from
from backend.replay.playing import LabelledSet, Play, play
from backend.serving.slot import Served
from backend.settings import Settings
from backend.store.projects import Project
from benchmarks.beginning import id_of, keep_starter
from benchmarks.real_images import RealImages, real_images, spread
from benchmarks.sides import SETS
from model.classical.detector import CLASSICAL_ID
from model.judging.evaluation import evaluate_version
from model.judging.policy import NEAR_MISS
from model.keeping.registry import Registry
from model.labels.examples import LabelledImage
from model.looking.loaded import Found

RANDOM = "random"

#: How much an image is wanted next, by what serves and what it finds there.
Wanted = Callable[[Served, Found], float]


def served_order(served: Served, found: Found) -> float:
    """As *Uncertainty sampling* has it: by the scores of the predictions that are served."""
    group = found.prepared.group
    return -served.policy.certainty(found.detections, group, served.loaded.groups.rarity(group))


def uncertainty(served: Served, found: Found) -> float:
    """How close the probabilities are to the one from which boxes are shown."""
    policy, group = served.policy, found.prepared.group
    counted = policy.counted_probability(group)
    threshold = counted if policy.shown_from is None else min(policy.shown_from, counted)
    likely = policy.calibration.probabilities(found.detections.scores, group)
    near = likely[likely >= NEAR_MISS * threshold]
    room = np.where(near >= threshold, 1 - threshold, threshold)
    distance = np.abs(near - threshold) / np.maximum(room, 1e-9)
    return -float(distance.mean()) if len(near) else NEAR_MISS - 1


def all_corrections(served: Served, found: Found) -> float:
    """How many boxes are expected to be wrong or missing, those included that are hardly likely."""
    group = found.prepared.group
    likely = served.policy.calibration.probabilities(found.detections.scores, group)
    shown = served.policy.shown(found.detections, group).scores
    return float((1 - shown).sum() + likely.sum() - shown.sum())


def share_wrong(served: Served, found: Found) -> float:
    """The same for each cell that is expected."""
    group = found.prepared.group
    likely = served.policy.calibration.probabilities(found.detections.scores, group)
    return all_corrections(served, found) / (1 + float(likely.sum()))


#: Each order: by what, and whether contrast groups that were corrected less come first.
ORDERS: dict[str, tuple[Wanted, bool] | None] = {
    RANDOM: None,
    "served": (served_order, False),
    "uncertainty": (uncertainty, False),
    "corrections": (all_corrections, False),
    "diverse": (all_corrections, True),
    "share": (share_wrong, True),
}


def main() -> None:
    """Play what is named and not there yet, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--orders", nargs="+", default=list(ORDERS), choices=ORDERS)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5)))
    parser.add_argument("--start", help="folder of a starter, such as starters/no_{set}")
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--corrected", type=int, help="of the images; all when left out")
    parser.add_argument("--judge", type=int, default=24, help="test images")
    parser.add_argument("--iterations", type=int, default=100, help="of each training")
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    if arguments.table:
        print_table(arguments.out)
        return
    configure_logging("ERROR")
    for seed in arguments.seeds:
        for name in arguments.sets:
            for order in arguments.orders:
                carry_out(name, order, seed, arguments)


def carry_out(name: str, order: str, seed: int, arguments: argparse.Namespace) -> None:
    """Play one set in one order, and keep its figures as JSON."""
    out = arguments.out / f"{name}-{order}-{seed}"
    figures = out / "figures.json"
    settings = Settings(
        home=out / "home",
        first_version=CLASSICAL_ID,
        device="cpu",
        iterations=arguments.iterations,
    )
    start = Path(arguments.start.format(set=name)) if arguments.start else None
    ledger = begun(out, settings, start, arguments)
    if figures.exists():
        return
    data = real_images(name)
    images = drawn(data, seed, arguments.images)
    with paper_loop(settings) as services:
        project = lay_out(services, LabelledSet(images, data.classes), name)
        if start:
            kept_in = Registry(out / "starter")
            start_from(services, project, keep_starter(start, kept_in).id, kept_in)
        desk = PaperDesk(services, project)
        ordered = in_order(desk, images, ORDERS[order], ledger)
        for row in play(desk, islice(ordered, arguments.corrected), ledger):
            print(out.name, row.number, row.learned, row.actions.number, row.cells, flush=True)
        test = spread(data.test, arguments.judge)
        judged = judged_versions(services, project, test, data.classes)
    made: dict[str, Any] = {
        "set": name,
        "order": order,
        "seed": seed,
        "iterations": arguments.iterations,
        "images": [len(images), arguments.corrected or len(images)],
        "start": arguments.start or CLASSICAL_ID,
        "effort": effort_of_rows(ledger.rows),
        "seconds": seconds_a_cell(ledger.rows),
        "judged": judged,
    }
    write_whole(figures, json.dumps(made).encode())


def begun(
    out: Path, settings: Settings, start: Path | None, arguments: argparse.Namespace
) -> Ledger:
    """Return the rows of a play; end where they were begun otherwise than is asked for now."""
    out.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(out / TABLE)
    how = Play().chosen(
        PaperDesk.form,
        settings,
        start=id_of(start) if start else CLASSICAL_ID,
        images=arguments.images,
        corrected=arguments.corrected or "all",
        judge=arguments.judge,
    )
    try:
        ledger.keep_to(how)
    except BadRequest as error:
        raise SystemExit(str(error)) from error
    return ledger


def drawn(data: RealImages, seed: int, number: int) -> list[LabelledImage]:
    """Return images of a set's teaching side by chance, in an order by chance."""
    rng = np.random.default_rng(seed)
    by_hash = sorted(data.rest, key=lambda image: image.sha256)
    return [by_hash[place] for place in rng.permutation(len(by_hash))[:number]]


def in_order(
    desk: PaperDesk,
    images: Sequence[LabelledImage],
    order: tuple[Wanted, bool] | None,
    ledger: Ledger,
) -> Iterator[LabelledImage]:
    """Yield first what was played before, then what is wanted most of what is left."""
    of_hash = {image.sha256: image for image in images}
    played = [of_hash.pop(row.sha256) for row in list(ledger.rows)]
    yield from played
    if order is None:
        yield from of_hash.values()
        return
    wanted, diverse = order
    found = Looked(desk, wanted)
    while of_hash:
        groups = found.groups([*played, *of_hash.values()])
        done = [groups[image.sha256] for image in played]
        score = {
            sha256: found.of(image) * (lack(groups[sha256], done, groups) if diverse else 1.0)
            for sha256, image in of_hash.items()
        }
        best = max(score, key=lambda sha256: score[sha256])
        played.append(of_hash.pop(best))
        yield played[-1]


def lack(group: str, done: Sequence[str], groups: dict[str, str]) -> float:
    """Return how many times too seldom a contrast group was corrected, one more of each counted."""
    share = list(groups.values()).count(group) / len(groups)
    number = len(set(groups.values()))
    return share / ((done.count(group) + number * share) / (len(done) + number))


class Looked:
    """What the serving version finds in the images, looked at once for each version."""

    def __init__(self, desk: PaperDesk, wanted: Wanted) -> None:
        self._desk = desk
        self._wanted = wanted
        self._served = ""
        self._kept: dict[str, tuple[float, str]] = {}

    def of(self, image: LabelledImage) -> float:
        """Return how much an image is wanted."""
        return self._look(image)[0]

    def groups(self, images: Sequence[LabelledImage]) -> dict[str, str]:
        """Return the contrast group of each image, by its hash."""
        return {image.sha256: self._look(image)[1] for image in images}

    def _look(self, image: LabelledImage) -> tuple[float, str]:
        served = self._desk.served
        if served.name != self._served:
            self._served, self._kept = served.name, {}
        if image.sha256 not in self._kept:
            name = self._desk.project.default_class
            (found,) = served.loaded.find([image.read()], default_class=name)
            self._kept[image.sha256] = self._wanted(served, found), found.prepared.group
        return self._kept[image.sha256]


def judged_versions(
    services: PaperServices,
    project: Project,
    test: Sequence[LabelledImage],
    classes: Sequence[str],
) -> list[dict[str, Any]]:
    """Return how good the version was that served after each run, by the images it came at."""
    judged, known = [], dict[str, Any]()
    for run in sorted(services.runs.all(project.id), key=lambda run: run.id):
        if run.state not in ("promoted", "refused") or run.champion is None:
            continue
        serving = run.candidate if run.state == "promoted" else run.champion
        assert serving is not None
        if serving not in known:
            loaded = services.registry.load(serving, "cpu")
            known[serving] = evaluate_version(loaded, test, classes, project.default_class)
        report = known[serving]
        figures = {"ap50": report.any_class.ap50, "ap75": report.any_class.ap75}
        judged.append({"at": run.corrected, **figures, "state": run.state})
    return judged


def print_table(out: Path) -> None:
    """Print each order's means, and what it is above the random order, paired by seed."""
    lines = [json.loads(path.read_text("utf-8")) for path in sorted(out.glob("*/figures.json"))]
    of = {(line["set"], line["order"], line["seed"]): figures_of(line) for line in lines}
    for name in sorted({line["set"] for line in lines}):
        for order in (o for o in ORDERS if any(key[:2] == (name, o) for key in of)):
            own = {seed: f for (s, o, seed), f in of.items() if (s, o) == (name, order)}
            print(f"\n{name}, {order}, seeds {sorted(own)}")
            for figure in next(iter(own.values())):
                values = [f[figure] for f in own.values() if figure in f]
                leads = [
                    f[figure] - of[name, RANDOM, seed][figure]
                    for seed, f in own.items()
                    if figure in f and figure in of.get((name, RANDOM, seed), {})
                ]
                print(f"  {figure:12} {fmean(values):.3f}  above random {interval(leads)}")


def figures_of(line: dict[str, Any]) -> dict[str, float]:
    judged = {f"AP50 at {one['at']}": one["ap50"] or 0.0 for one in line["judged"]}
    tight = {f"AP75 at {one['at']}": one["ap75"] or 0.0 for one in line["judged"]}
    return {"effort": line["effort"], "seconds": line["seconds"], **judged, **tight}


def interval(leads: Sequence[float]) -> str:
    """Return mean and interval of 95 % of paired differences, by Student's t."""
    if len(leads) < 2:
        return f"{fmean(leads):+.3f}" if leads else "–"
    half = t.ppf(0.975, len(leads) - 1) * stdev(leads) / len(leads) ** 0.5
    return f"{fmean(leads):+.3f} ({fmean(leads) - half:+.3f} to {fmean(leads) + half:+.3f})"


if __name__ == "__main__":
    main()
