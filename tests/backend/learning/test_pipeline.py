from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from backend.learning import pipeline, promoting
from backend.learning.pipeline import learn, sweep
from backend.learning.progress import Reporter
from backend.learning.snapshots import build_snapshot, snapshot_file
from backend.learning.taken import project_folder, run_folder, take
from backend.services import Services
from backend.store.runs import Run, State
from model.classical.detector import CLASSICAL_ID
from model.errors import TrainingCancelled
from model.generated.fields import EASY, HARD, generate_field
from model.keeping.starter import STARTER_ID
from model.labels.examples import DatasetSnapshot
from model.progress import Progress
from model.versions import GateDecision, ModelVersion
from preprocessing.groups import ContrastGroups
from tests.backend.conftest import PUSH, waiting
from tests.backend.learning.conftest import RIMS

NONE = ContrastGroups.none()


def with_iterations(services: Services, iterations: int) -> Services:
    settings = services.settings.model_copy(update={"iterations": iterations})
    return replace(services, settings=settings)


def run_of(services: Services, project: int, milestone: int = 5) -> Run:
    run = services.runs.open(project, milestone, "button")
    assert run is not None
    return run


def learned(services: Services, run: Run) -> Run:
    learn(services, run.id)
    return services.runs.get(run.id)


def champion(services: Services, project: int) -> str:
    return services.registry.champion(str(project)).id


def test_two_corrections_are_too_few_to_learn_from(
    services: Services, project: int, correct_fields: Any
) -> None:
    correct_fields(range(2))
    run = learned(services, run_of(services, project))
    assert run.state == "refused"
    assert "(2 corrected). Three corrected images are enough" in run.message
    assert [version.id for version in services.registry.list()] == [CLASSICAL_ID, STARTER_ID]


def test_the_frames_of_one_field_are_told_to_be_too_few_fields(
    services: Services, project: int, add_image: Any, correct: Any
) -> None:
    field = generate_field(1, (96, 96), 4, HARD).pixels
    for frame in range(6):
        add_image(frame, np.roll(field, frame % 2, axis=0) + np.uint8(frame))
    correct(range(6))
    run = learned(services, run_of(services, project))
    assert run.state == "refused"
    assert "(6 corrected). Images of one field, such as the frames of a film" in run.message
    assert "6 corrected images left for the next run" in run.message


@pytest.mark.integration
def test_images_without_a_single_box_are_nothing_to_learn_from(
    services: Services, project: int, add_image: Any, correct: Any
) -> None:
    for task in range(5):
        add_image(task)
    correct(range(5))
    run = learned(services, run_of(services, project))
    assert run.state == "refused"
    assert champion(services, project) == CLASSICAL_ID


def test_a_run_that_is_left_without_a_raw_file_says_which_are_gone_or_damaged(
    services: Services, project: int, add_image: Any, correct: Any
) -> None:
    files = [services.images.path(add_image(task)) for task in range(5)]
    correct(range(5))
    for file in files[1:]:
        file.unlink()
    files[0].write_bytes(files[0].read_bytes()[:-9])
    run = learned(services, run_of(services, project))
    assert run.state == "refused"
    assert "(5 corrected). Images of one field" in run.message
    assert "\nimage0.png left out: its raw file is damaged; import it again\n" in run.message
    assert "image4.png left out: its raw file is gone; import it again" in run.message
    assert champion(services, project) == CLASSICAL_ID


@contextmanager
def held_from(services: Services, statement: str) -> Iterator[None]:
    """Have another process hold the database from a statement on, as who copies its file does."""
    with closing(sqlite3.connect(services.settings.home / "cytoloop.db")) as other:

        def hold(connection: Any, cursor: Any, said: str, *rest: Any) -> None:
            cursor.execute("PRAGMA busy_timeout = 0")
            if said.startswith(statement) and not other.in_transaction:
                other.execute("BEGIN IMMEDIATE")

        event.listen(services.engine, "before_cursor_execute", hold)
        try:
            yield
        finally:
            event.remove(services.engine, "before_cursor_execute", hold)


def version_of(services: Services, project: int, run: Run, **fields: Any) -> ModelVersion:
    """Store what a run would have made of what it froze."""
    detector, training = services.settings.recipe
    version = ModelVersion(
        "trained-x",
        "trained",
        ("Cell",),
        0.5,
        project=str(project),
        snapshot=str(run.snapshot),
        detector=detector,
        training=training,
        **fields,
    )
    return services.registry.add(version, NONE, None)


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The champions beside which a gate that lets nothing pass judged a candidate."""
    champions: list[str] = []

    def judge(_: Any, __: int, ___: Any, champion: ModelVersion, *rest: Any) -> GateDecision:
        champions.append(champion.id)
        return GateDecision(False, (f"no better than {champion.id}",))

    monkeypatch.setattr(promoting, "judge_beside_champion", judge)
    monkeypatch.setattr(promoting, "show_least_work", lambda *told: False)
    return champions


@pytest.mark.parametrize(
    "statement", ["UPDATE runs SET candidate", "UPDATE runs SET stage", "UPDATE runs SET state"]
)
def test_a_run_whose_database_is_away_after_the_training_goes_on_with_its_candidate(
    services: Services, project: int, correct_fields: Any, beside: list[str], statement: str
) -> None:
    correct_fields(range(5))
    run = cut_off(services, project)
    version = version_of(services, project, run)
    started = services.runs.start

    def start(id: int) -> Run | None:  # before the database is held
        run = started(id)
        holding.enter_context(held_from(services, statement))
        return run

    with ExitStack() as holding, pytest.MonkeyPatch.context() as patch:
        patch.setattr(services.runs, "start", start)
        with pytest.raises(OperationalError, match="database is locked"):
            learn(services, run.id)
    found = services.runs.get(run.id)
    assert found.state == "running", found.message
    assert services.runs.cut_off(found, "ended before it was done")
    ended = learned(services, run)
    assert (ended.state, ended.candidate) == ("refused", version.id)


def test_a_run_whose_end_cannot_be_written_keeps_its_checkpoint(
    services: Services, project: int, correct_fields: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(connection: Any, cursor: Any, said: str, parameters: Any, *rest: Any) -> None:
        raise OperationalError(said, parameters, Exception("server closed the connection"))

    def fail(*args: Any, workdir: Path, **more: Any) -> Any:
        workdir.mkdir()
        event.listen(services.engine, "before_cursor_execute", lose)
        raise RuntimeError("the GPU is gone")

    correct_fields(range(5))
    run = run_of(services, project)
    monkeypatch.setattr(pipeline, "make_candidate", fail)
    with pytest.raises(OperationalError, match="server closed the connection"):
        learn(services, run.id)
    event.remove(services.engine, "before_cursor_execute", lose)
    assert services.runs.get(run.id).state == "running"
    assert (run_folder(services.settings, run.id) / "training").exists()


def test_after_a_roll_back_a_refused_candidate_is_judged_beside_what_serves_then(
    services: Services, project: int, correct_fields: Any, beside: list[str]
) -> None:
    correct_fields(range(5))
    run = cut_off(services, project)
    version = version_of(services, project, run)
    services.registry.add(replace(version, id="trained-w", snapshot="", project=""), NONE, None)
    services.registry.promote(str(project), "trained-w")
    assert learned(services, run).champion == "trained-w"
    services.registry.rollback(str(project))
    again = learned(services, run_of(services, project))
    assert again.message.startswith(f"no better than {CLASSICAL_ID}")
    assert beside == ["trained-w", CLASSICAL_ID]
    for _ in range(2):
        last = learned(services, run_of(services, project))
        assert last.message.startswith(f"Nothing new: run {again.id} learned")
        assert "start the loop anew with another CYTOLOOP_PRESET" in last.message
        assert f"cytoloop runs retry {last.id}" in last.message
    assert len(beside) == 2


def test_a_run_that_fails_while_it_judges_tells_still_what_it_compared(
    services: Services, project: int, correct_fields: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def judge(*args: Any) -> Any:
        raise RuntimeError("the GPU is gone")

    monkeypatch.setattr(promoting, "judge_beside_champion", judge)
    correct_fields(range(5))
    run = cut_off(services, project)
    version = version_of(services, project, run)
    failed = learned(services, run)
    assert (failed.state, failed.candidate) == ("failed", version.id)
    assert failed.champion == CLASSICAL_ID
    assert services.runs.has_learned(project)


def test_a_cancelled_run_is_left_alone(
    services: Services, project: int, correct_fields: Any
) -> None:
    run = run_of(services, project)
    services.runs.finish(run.id, "cancelled")
    assert learned(services, run).started_at is None


def test_who_finds_another_at_a_project_takes_nothing_that_keeps_that_one_from_the_run(
    services: Services, project: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, asked = run_of(services, project), []

    def recording(folder: Path) -> Any:
        asked.append(folder)
        return take(folder)

    monkeypatch.setattr(pipeline, "take", recording)
    with take(project_folder(services.settings, project)):
        assert learned(services, run).state == "queued"
    assert asked == [project_folder(services.settings, project)]


def test_a_job_of_another_store_is_left_alone(services: Services) -> None:
    learn(services, 77)
    assert services.runs.all() == []


def cut_off(services: Services, project: int) -> Run:
    """Return a run that waits to go on with the snapshot that it froze."""
    run = services.runs.start(run_of(services, project).id)
    assert run is not None
    snapshot = build_snapshot(services, project, print)
    snapshot.save(snapshot_file(services.settings, run.id))
    corrected = services.annotations.corrected_count(project)
    services.runs.freeze(run.id, snapshot.sha256, corrected, [])
    services.runs.cut_off(services.runs.get(run.id), "was killed (SIGKILL)")
    return services.runs.get(run.id)


def end_with(services: Services, project: int, corrected: int, state: State) -> None:
    """Have another run of the project end that learned from so many images."""
    run = services.runs.open(project, corrected, "milestone")
    assert run is not None
    services.runs.start(run.id)
    services.runs.freeze(run.id, "ab" * 32, corrected, [])
    services.runs.finish(run.id, state)


def test_a_run_whose_process_was_killed_trains_by_one_and_one_that_was_stopped_by_as_many_as_before(
    services: Services, project: int, correct_fields: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*args: Any, processes: int, **more: Any) -> Any:
        asked.append(processes)
        raise TrainingCancelled("it was about to learn")

    asked = list[int]()
    monkeypatch.setattr(pipeline, "make_candidate", stop)
    correct_fields(range(5))
    stopped = run_of(services, project)
    services.runs.start(stopped.id)
    assert services.runs.stopped(stopped.id)
    assert learned(services, stopped).state == "cancelled"
    assert learned(services, cut_off(services, project)).state == "cancelled"
    assert asked == [0, 1]


@pytest.mark.parametrize(
    ("corrected", "state", "expected"),
    [
        (7, "promoted", "covered"),
        (7, "refused", "covered"),
        (7, "failed", "refused"),
        (2, "promoted", "refused"),
    ],
)
def test_a_run_that_was_cut_off_does_not_go_on_behind_one_that_learned_from_more(
    services: Services,
    project: int,
    correct_fields: Any,
    corrected: int,
    state: State,
    expected: State,
) -> None:
    correct_fields(range(2))  # too few to learn from
    run = cut_off(services, project)
    end_with(services, project, corrected, state)
    ended = learned(services, run)
    assert ended.state == expected, ended.message
    said = "Run 2 has learned from more corrections meanwhile."
    assert (ended.message == said) == (expected == "covered")


def test_a_run_that_was_cut_off_goes_on_behind_one_that_had_ended_before_it_began(
    services: Services, project: int, correct_fields: Any
) -> None:
    end_with(services, project, 7, "promoted")
    correct_fields(range(2))  # of seven, five were wrong and are deleted
    ended = learned(services, cut_off(services, project))
    assert ended.state == "refused", ended.message


def test_a_run_that_was_cut_off_after_its_promotion_ends_as_promoted_whatever_came_since(
    services: Services, project: int, correct_fields: Any
) -> None:
    correct_fields(range(5))
    run = cut_off(services, project)
    decision = GateDecision(True, ("candidate promoted",))
    version = version_of(services, project, run, decision=decision)
    services.registry.promote(str(project), version.id)
    services.runs.start(run.id)
    services.runs.progress(run.id, candidate=version.id, champion=CLASSICAL_ID)
    services.runs.cut_off(services.runs.get(run.id), "was killed (SIGKILL)")
    end_with(services, project, 7, "promoted")
    assert learned(services, run).state == "promoted"


def test_a_run_that_was_cut_off_goes_on_without_an_image_whose_raw_file_is_gone_since(
    services: Services, project: int, correct_fields: Any
) -> None:
    correct_fields(range(3))
    run = cut_off(services, project)
    gone = services.images.of_task(project, 1)
    assert gone is not None
    services.images.path(gone.sha256).unlink()
    ended = learned(services, run)
    assert ended.state == "refused", ended.message
    assert f"{gone.name} left out: its raw file is gone; import it again" in ended.notes


def test_a_run_that_was_cut_off_goes_on_without_an_image_whose_raw_file_was_damaged_since(
    services: Services, project: int, correct_fields: Any
) -> None:
    correct_fields(range(3))
    run = cut_off(services, project)
    damaged = services.images.of_task(project, 1)
    assert damaged is not None
    file = services.images.path(damaged.sha256)
    file.write_bytes(file.read_bytes()[:-9] + bytes(9))
    ended = learned(services, run)
    assert ended.state == "refused", ended.message
    assert f"{damaged.name} left out: its raw file is damaged; import it again" in ended.notes


def test_what_runs_froze_stays_from_the_newest_on_of_which_no_raw_file_is_gone(
    services: Services, project: int, correct_fields: Any, tmp_path: Path
) -> None:
    runs = []
    for tasks in (range(3), range(3, 6)):
        correct_fields(tasks)
        runs.append(cut_off(services, project).id)
        services.runs.finish(runs[-1], "cancelled")
    gone = services.images.of_task(project, 4)
    assert gone is not None
    raw, away = services.images.path(gone.sha256), tmp_path / "away"
    raw.rename(away)
    sweep(services)
    assert [snapshot_file(services.settings, run).exists() for run in runs] == [True, True]
    away.rename(raw)
    sweep(services)
    assert [snapshot_file(services.settings, run).exists() for run in runs] == [False, True]


def test_what_runs_froze_goes_when_they_ended_but_for_the_newest_of_each_project(
    services: Services, project: int, correct_fields: Any
) -> None:
    correct_fields(range(2))
    ended = [cut_off(services, project).id]
    services.runs.finish(ended[0], "cancelled")
    for corrected in (10, 20):
        end_with(services, project, corrected, "refused")
        ended.append(services.runs.all(project)[0].id)
    waits = cut_off(services, project)
    unfrozen = services.runs.open(project, 40, "milestone")
    assert unfrozen is not None
    services.runs.finish(unfrozen.id, "failed")
    snapshot = build_snapshot(services, project, print)
    files = [
        snapshot_file(services.settings, id) for id in (ended[0], ended[1], waits.id, unfrozen.id)
    ]
    for file in files:
        snapshot.save(file)
    (files[0].parent / "training").mkdir()
    damaged = snapshot_file(services.settings, ended[2])
    damaged.parent.mkdir(parents=True, exist_ok=True)
    damaged.write_text("{")
    assert services.runs.get(ended[2]).snapshot
    sweep(services)
    sweep(services)
    assert [file.exists() for file in (*files, damaged)] == [False, True, True, True, True]
    assert list(files[0].parent.iterdir()) == []


@pytest.fixture
def reporting(services: Services, project: int) -> tuple[Run, Reporter, list[float]]:
    """A run under way, what writes its progress, and the time by which it does."""
    run, now = run_of(services, project), [0.0]
    services.runs.start(run.id)
    return run, Reporter(services.runs, run.id, clock=lambda: now[0]), now


def test_progress_is_written_once_a_second_and_at_each_new_stage(
    services: Services, reporting: tuple[Run, Reporter, list[float]]
) -> None:
    run, report, now = reporting

    def told(stage: str, fraction: float, at: float) -> tuple[str, float]:
        now[0] = at
        report(Progress(stage, fraction, iteration=3, iterations=20, loss=0.5))
        kept = services.runs.get(run.id)
        return kept.stage, kept.fraction

    assert told("training", 0.1, at=0.0) == ("training", 0.1)
    assert told("training", 0.2, at=0.5) == ("training", 0.1)
    assert told("training", 0.3, at=1.0) == ("training", 0.3)
    assert told("evaluating", 0.9, at=1.1) == ("evaluating", 0.9)
    assert services.runs.get(run.id).message == "step 3 of 20, loss 0.500"
    report(Progress("evaluating", 0.9, message="memory ran out"))
    assert services.runs.get(run.id).message == "memory ran out"
    now[0] = 2.2
    report(Progress("training", 0.9, 9, 20, loss=0.4, ap50=0.7812))
    assert services.runs.get(run.id).message == "step 9 of 20, loss 0.400, AP50 0.781 so far"
    now[0] = 3.3
    report(Progress("training", 0.9, 10, 20, loss=0.4))
    assert services.runs.get(run.id).ap50 == 0.7812


def test_a_run_ended_from_outside_stops_at_its_next_progress(
    services: Services, project: int
) -> None:
    run = run_of(services, project)
    services.runs.start(run.id)
    report = Reporter(services.runs, run.id)
    services.runs.finish(run.id, "cancelled")
    with pytest.raises(TrainingCancelled):
        report(Progress("training", 0.5))


def test_a_store_that_is_away_for_a_moment_ends_no_training_at_a_mere_progress(
    services: Services, reporting: tuple[Run, Reporter, list[float]]
) -> None:
    run, report, now = reporting
    moved = services.settings.home / "moved.db"
    tables = services.settings.home / "cytoloop.db"
    services.engine.dispose()
    tables.rename(moved)
    tables.mkdir()
    report(Progress("training", 0.2, 3, 20))
    with pytest.raises(OperationalError):
        report.stage("judging", 0.97)
    tables.rmdir()
    moved.rename(tables)
    now[0] = 1.0
    report(Progress("training", 0.4, 9, 20))
    assert services.runs.get(run.id).iteration == 9


def test_of_many_notes_the_first_are_shown_and_the_others_counted(services: Services) -> None:
    report = Reporter(services.runs, 1)
    for number in range(14):
        report.note(f"note {number}")
    lines = report.message("Refused.").splitlines()
    assert lines[:2] == ["Refused.", "note 0"]
    assert lines[-1].startswith("and 4 more notes")


@pytest.mark.integration
def test_a_run_learns_judges_and_says_why_and_only_the_same_again_is_nothing_new(
    services: Services, project: int, correct_fields: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = with_iterations(services, 2)
    correct_fields(range(5), style=EASY)
    run = learned(services, run_of(services, project))
    assert run.state == "refused"
    assert run.decision is not None
    assert not run.decision.promoted
    assert run.decision.reasons[-1] in run.message
    assert "Label Studio was not asked" in run.message
    assert run.champion == champion(services, project) == CLASSICAL_ID

    kept = services.registry.get(str(run.candidate))
    assert kept.decision == run.decision
    assert (kept.project, kept.snapshot) == (str(project), run.snapshot)
    folder = services.settings.runs_folder / str(run.id)
    assert [path.name for path in folder.iterdir()] == ["snapshot.json"]
    assert DatasetSnapshot.load(folder / "snapshot.json").sha256 == run.snapshot

    again = learned(services, run_of(services, project))
    assert again.state == "refused"
    assert again.message.startswith(f"Nothing new: run {run.id} learned")
    assert len(services.registry.list()) == 3

    def stop(snapshot: DatasetSnapshot, *args: Any, **more: Any) -> Any:
        asked.append((snapshot.sha256, more["recipe"][1].iterations))
        raise TrainingCancelled("it was about to learn")

    asked = list[tuple[str, int]]()
    monkeypatch.setattr(pipeline, "make_candidate", stop)
    otherwise = learned(with_iterations(services, 3), run_of(services, project))
    assert asked == [(run.snapshot, 3)]
    assert (otherwise.state, otherwise.message) == ("cancelled", "it was about to learn")


@pytest.mark.integration
def test_a_better_candidate_becomes_champion_and_its_push_is_queued(
    services: Services, project: int, correct_fields: Any
) -> None:
    services = with_iterations(services, 8)
    # So few steps from nothing prove nothing; from the starter they do.
    services.registry.first = STARTER_ID
    services.registry.promote(str(project), CLASSICAL_ID)
    correct_fields(range(5), style=RIMS)
    run = learned(services, run_of(services, project))
    assert run.state == "promoted", run.message
    assert champion(services, project) == run.candidate
    assert run.champion == CLASSICAL_ID
    assert waiting(services, PUSH) == [f"{PUSH}-{project}-{run.candidate}"]


def test_where_a_class_was_renamed_the_refusal_names_it_first(
    services: Services, project: int, correct_fields: Any
) -> None:
    correct_fields(range(5))
    config = services.projects.get(project).label_config.replace('"Cell"', '"Nucleus"')
    services.projects.ensure(project, "", config)
    run = learned(services, run_of(services, project))
    assert run.state == "refused"
    assert run.message.startswith("Boxes have a class that the project lacks (image0.png: ")
    assert "4 boxes of 'Cell' left out" in run.message.partition(". No corrected image")[0]
