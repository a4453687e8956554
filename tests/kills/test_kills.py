"""kill -9 of each process at each stage of a run: nothing is lost, and nothing done twice."""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path

import pytest

from backend.store.runs import Run
from model.classical.detector import CLASSICAL_ID
from preprocessing.images import read_image
from tests.kills.installation import KINDS, PAUSE_S, until
from tests.kills.lab import Lab
from tests.kills.label_studio import PROJECT
from tests.kills.stages import PROMOTED_FROM, STAGES

pytestmark = pytest.mark.integration

#: Of one run; killed five times at one place it would fail, as it should.
KILLS_OF_CHANCE = 3


@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_every_stage_a_run_ends_as_if_nothing_had_been(lab: Lab, kind: str) -> None:
    installation = lab.installation
    installation.stops.ask(STAGES[0])
    for _ in range(lab.scale.corrected):
        lab.correct()
    for number, stage in enumerate(STAGES):
        lab.wait_until(installation.stops.stopped, f"a job stops at: {stage}")
        served = (CLASSICAL_ID,) if number < PROMOTED_FROM else (CLASSICAL_ID, lab.champion)
        assert lab.served() in served
        for following in STAGES[number + 1 : number + 2]:
            installation.stops.ask(following)
        installation.kill(kind)
        if kind not in ("web", "all"):
            assert lab.served() in served
        if number % 4 == 0:
            lab.correct()
        installation.stops.release()
        if kind == "redis":
            time.sleep(PAUSE_S)
        installation.up()
        if kind in ("web", "all"):
            lab.wait_until(lambda: bool(lab.served()), "the new web process answers")
    (run,) = lab.settle()
    assert run.state == "promoted"
    nothing_is_lost_or_doubled(lab, [run])


def test_killed_at_moments_of_chance_runs_end_as_if_nothing_had_been(lab: Lab) -> None:
    chance = random.Random(5)
    for number in range(lab.scale.runs):
        for _ in range(lab.scale.corrected):
            lab.correct()
        for _ in range(KILLS_OF_CHANCE):
            time.sleep(chance.uniform(0.0, lab.scale.moments_s))
            lab.installation.kill(chance.choice(KINDS))
            lab.installation.up()
        runs = lab.settle(number + 1)
    assert len(runs) == lab.scale.runs
    nothing_is_lost_or_doubled(lab, runs)


def nothing_is_lost_or_doubled(lab: Lab, runs: list[Run]) -> None:
    each_milestone_was_one_run_and_one_version(lab, runs)
    services, studio = lab.installation.services, lab.studio
    assert {a.task for a in services.annotations.corrected(PROJECT)} == studio.annotated()
    champion = the_champion_is_whole(lab)
    the_open_tasks_have_its_boxes(lab, champion)
    until(lambda: lab.served() == champion, "the new version serves", lab.installation)
    nothing_half_is_left(lab.installation.settings.home, runs)


def each_milestone_was_one_run_and_one_version(lab: Lab, runs: list[Run]) -> None:
    registry = lab.installation.services.registry
    expected = [(lab.scale.corrected * (n + 1), 1) for n in range(len(runs))]
    assert [(run.milestone, run.attempt) for run in runs] == expected
    assert {run.state for run in runs} <= {"promoted", "refused"}
    trained = [v for v in registry.list() if v.kind == "trained"]
    assert [(v.id, v.snapshot, v.decision) for v in trained] == [
        (run.candidate, run.snapshot, run.decision) for run in runs
    ]
    promoted = [run.candidate for run in runs if run.state == "promoted"]
    changes = [change.champion for change in registry.history(str(PROJECT))]
    assert changes == [CLASSICAL_ID, *promoted]


def the_champion_is_whole(lab: Lab) -> str:
    services = lab.installation.services
    assert services.registry.broken() == ()
    champion = services.registry.load(lab.champion, "cpu")
    image = services.images.all(PROJECT)[0]
    assert champion.find([read_image(services.images.path(image.sha256))])[0].detections.boxes()
    return champion.version.id


def the_open_tasks_have_its_boxes(lab: Lab, champion: str) -> None:
    for task in lab.studio.open_tasks():
        given = Counter(prediction["model_version"] for prediction in task["predictions"])
        assert set(given.values()) == {1}
        assert lab.studio.project["model_version"] in given
    assert lab.studio.project["model_version"].startswith(f"{champion}+")


def nothing_half_is_left(home: Path, runs: list[Run]) -> None:
    assert [path for path in home.rglob("*") if path.name.startswith(".")] == []
    for run in runs:
        kept = home / "runs" / str(run.id)
        assert {path.name for path in kept.iterdir()} <= {"snapshot.json"}
