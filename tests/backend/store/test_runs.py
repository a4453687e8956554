from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from sqlalchemy import Engine

from backend.errors import NotFound
from backend.settings import Settings
from backend.store.projects import Projects
from backend.store.runs import MOST_CUT_OFFS, PROMOTING, Run, Runs
from model.versions import GateDecision
from tests.backend.conftest import LABEL_CONFIG


@pytest.fixture
def store(engine: Engine) -> Runs:
    return Runs(engine)


def opened(run: Run | None) -> Run:
    assert run is not None
    return run


def test_a_milestone_opens_one_run(store: Runs) -> None:
    run = opened(store.open(1, 5, "milestone"))
    assert (run.state, run.attempt, run.milestone) == ("queued", 1, 5)
    assert store.open(1, 5, "milestone") is None
    assert store.milestones_done(1) == {5}


def test_the_runs_that_ended_last_come_first_less_those_that_were_taken_along(store: Runs) -> None:
    first, second, third, taken, waiting = (
        opened(store.open(1, milestone, "milestone")).id for milestone in (3, 5, 10, 20, 40)
    )
    assert not store.has_learned(1)
    store.finish(second, "refused", candidate="trained-1")
    store.finish(taken, "covered")
    for run in (third, first):
        store.finish(run, "failed")
    assert [run.id for run in store.ended(1, 5)] == [first, third, second]
    assert [run.id for run in store.ended(1, 2)] == [first, third]
    assert [run.id for run in store.unfinished(1)] == [waiting]
    assert store.has_learned(1)
    assert not store.has_learned(2)


@pytest.mark.parametrize("trigger", ["milestone", "button"])
def test_threads_that_open_at_once_open_one_run(store: Runs, trigger: str) -> None:
    together = Barrier(8)

    def open_together(_: int) -> Run | None:
        together.wait()
        return store.open(1, 5, trigger)  # type: ignore[arg-type]

    with ThreadPoolExecutor(8) as threads:
        runs = list(threads.map(open_together, range(8)))
    assert len([run for run in runs if run]) == 1
    assert len(store.all(1)) == 1


def test_the_button_tries_a_milestone_again_after_it_failed(store: Runs) -> None:
    first = opened(store.open(1, 5, "milestone"))
    store.finish(first.id, "failed")
    second = opened(store.open(1, 5, "button"))
    assert (second.milestone, second.attempt) == (5, 2)


def test_a_waiting_run_is_taken_once(store: Runs) -> None:
    run = opened(store.open(1, 5, "milestone"))
    with ThreadPoolExecutor(4) as threads:
        taken = list(threads.map(lambda _: store.start(run.id), range(4)))
    assert [t.state for t in taken if t] == ["running"]


def test_progress_is_kept_until_the_run_ends(store: Runs) -> None:
    run = opened(store.open(1, 5, "milestone"))
    assert not store.progress(run.id, stage="train")
    store.start(run.id)
    assert store.progress(run.id, stage="train", fraction=0.5, message="loss 0.3")
    assert (store.get(run.id).stage, store.get(run.id).fraction) == ("train", 0.5)
    store.finish(run.id, "cancelled")
    assert not store.progress(run.id, stage="evaluate")


def test_the_first_to_end_a_run_counts(store: Runs) -> None:
    run = opened(store.open(1, 5, "milestone"))
    store.start(run.id)
    assert store.finish(run.id, "promoted", message="better", candidate="trained-1")
    assert not store.finish(run.id, "failed", message="too late")
    ended = store.get(run.id)
    assert (ended.state, ended.message, ended.candidate) == ("promoted", "better", "trained-1")
    assert ended.finished_at is not None
    assert not ended.is_active


def test_a_decision_comes_back_as_it_went_in(store: Runs) -> None:
    run = opened(store.open(1, 5, "milestone"))
    decision = GateDecision(False, ("AP50 0.41 is below the champion's 0.60",))
    store.finish(run.id, "refused", decision=decision)
    assert store.get(run.id).decision == decision


def test_the_active_run_is_the_running_one_before_the_waiting(store: Runs) -> None:
    waiting, running = (opened(store.open(1, m, "milestone")) for m in (5, 10))
    store.start(running.id)
    assert opened(store.active(1)).id == running.id
    store.finish(running.id, "refused")
    assert opened(store.active(1)).id == waiting.id
    store.finish(waiting.id, "refused")
    assert store.active(1) is None


def cut_off_at(store: Runs, id: int, *fractions: float) -> Run:
    for fraction in fractions:
        store.start(id)
        store.progress(id, fraction=fraction)
        store.cut_off(store.get(id), "was killed (SIGKILL)")
    return store.get(id)


def test_a_run_that_was_cut_off_waits_again(store: Runs) -> None:
    run = cut_off_at(store, opened(store.open(1, 5, "milestone")).id, 0.4)
    assert (run.state, run.fraction, run.cut_off_at) == ("queued", 0.0, 0.4)
    assert "goes on from its last checkpoint" in run.message


def test_a_run_whose_worker_was_told_to_stop_waits_again_however_often(store: Runs) -> None:
    id = opened(store.open(1, 5, "milestone")).id
    for _ in range(9):
        store.start(id)
        store.progress(id, stage="judging", fraction=0.97)
        assert store.stopped(id)
    run = store.get(id)
    assert (run.state, run.stage, run.fraction, run.cut_offs) == ("queued", "", 0.0, 0)
    assert not store.stopped(id)


def test_a_run_stopped_while_its_candidate_becomes_champion_cannot_be_cancelled(
    store: Runs,
) -> None:
    id = opened(store.open(1, 5, "milestone")).id
    store.start(id)
    store.progress(id, stage=PROMOTING, fraction=0.99)
    assert store.stopped(id)
    assert not store.cancel(id)


def test_a_run_cut_off_while_its_candidate_becomes_champion_cannot_be_cancelled(
    store: Runs,
) -> None:
    run = opened(store.open(1, 5, "milestone"))
    store.start(run.id)
    store.progress(run.id, stage=PROMOTING, fraction=0.99)
    assert store.cut_off(store.get(run.id), "was killed (SIGKILL)")
    assert not store.cancel(run.id)
    assert store.get(run.id).state == "queued"


def test_a_death_that_two_saw_counts_once(store: Runs) -> None:
    run = store.open(1, 5, "milestone")
    assert run is not None
    died = store.start(run.id)
    assert died is not None
    assert [store.cut_off(died, "ended before it was done") for _ in range(2)] == [True, False]
    assert store.get(run.id).cut_offs == 1


def test_who_saw_a_death_late_does_not_stop_the_run_that_goes_on(store: Runs) -> None:
    id = opened(store.open(1, 5, "milestone")).id
    cut_off_at(store, id, 0.1)
    store.start(id)
    store.progress(id, fraction=0.4)
    died = store.get(id)
    assert store.cut_off(died, "was killed (SIGKILL)")
    store.start(id)
    assert not store.cut_off(died, "ended before it was done")
    assert store.get(id).state == "running"


def test_a_run_that_ended_cannot_be_cut_off(store: Runs) -> None:
    run = opened(store.open(1, 5, "milestone"))
    store.finish(run.id, "cancelled")
    assert not store.cut_off(store.get(run.id), "was killed (SIGKILL)")
    assert store.get(run.id).state == "cancelled"


def test_a_run_cut_off_again_and_again_at_one_place_fails_and_says_what_to_do(store: Runs) -> None:
    run = opened(store.open(1, 5, "milestone"))
    run = cut_off_at(store, run.id, *[0.4] * MOST_CUT_OFFS)
    assert run.state == "failed"
    assert "was killed (SIGKILL), 5 times at the same place" in run.message
    assert f"cytoloop runs retry {run.id}" in run.message


def test_a_run_that_gets_further_each_time_may_be_cut_off_as_often_as_it_is(store: Runs) -> None:
    run = opened(store.open(1, 5, "milestone"))
    assert cut_off_at(store, run.id, *(n / 20 for n in range(20))).state == "queued"


def test_a_run_ends_the_waiting_milestones_that_its_snapshot_reaches(store: Runs) -> None:
    five, ten, twelve, twenty = (opened(store.open(1, m, "milestone")) for m in (5, 10, 12, 20))
    store.start(five.id)
    assert store.freeze(five.id, "a" * 64, 12, ["a note"]) == [ten.id, twelve.id]
    frozen = store.get(five.id)
    assert (frozen.snapshot, frozen.corrected, frozen.notes) == ("a" * 64, 12, ("a note",))
    assert store.get(ten.id).state == "covered"
    assert f"Run {five.id} learns" in store.get(ten.id).message
    assert store.get(twenty.id).state == "queued"
    assert store.milestones_done(1) == {5, 10, 12, 20}


def frozen(store: Runs, run: Run) -> Run:
    store.start(run.id)
    store.freeze(run.id, "a" * 64, run.milestone, [])
    return store.get(run.id)


def test_a_run_is_found_that_learned_from_more_and_went_all_the_way_through(store: Runs) -> None:
    early, few, more, most, failed = (
        frozen(store, opened(store.open(1, milestone, "milestone")))
        for milestone in (90, 5, 10, 20, 80)
    )
    store.finish(early.id, "promoted")
    store.finish(failed.id, "failed")
    assert store.learned_from_more(store.get(few.id)) is None
    for through, state in ((more, "refused"), (most, "promoted")):
        store.finish(through.id, state)  # type: ignore[arg-type]
        assert opened(store.learned_from_more(store.get(few.id))).id == through.id
    assert store.learned_from_more(opened(store.open(1, 3, "milestone"))) is None
    assert store.learned_from_more(store.get(most.id)) is None


def test_what_is_asked_of_a_projects_runs_says_nothing_of_anothers(
    store: Runs, engine: Engine, tmp_path: Path
) -> None:
    Projects(engine, Settings(home=tmp_path)).ensure(2, "proj2", LABEL_CONFIG)
    own, other, waiting = (
        opened(store.open(p, m, "milestone")) for p, m in ((1, 5), (2, 5), (2, 9))
    )
    assert [run.id for run in store.unfinished(1)] == [run.id for run in store.all(1)] == [own.id]
    for run in (own, other):
        store.start(run.id)
    assert store.freeze(own.id, "a" * 64, 12, []) == []
    assert store.freeze(other.id, "b" * 64, 20, []) == [waiting.id]
    store.finish(other.id, "promoted", candidate="trained-1")
    assert store.learned_from_more(store.get(own.id)) is None
    assert (store.has_learned(1), store.ended(1, 9)) == (False, [])
    assert store.milestones_done(1) == {5, 12}


def test_a_run_that_does_not_run_freezes_and_ends_nothing(store: Runs) -> None:
    five, ten = (opened(store.open(1, m, "milestone")) for m in (5, 10))
    store.finish(five.id, "cancelled")
    assert store.freeze(five.id, "a" * 64, 12, []) == []
    assert store.get(five.id).snapshot is None
    assert store.get(ten.id).state == "queued"


def test_runs_are_listed_newest_first(store: Runs) -> None:
    ids = [opened(store.open(1, m, "milestone")).id for m in (5, 10, 20)]
    assert [run.id for run in store.all()] == ids[::-1]


def test_only_a_run_that_went_through_has_judged_its_candidate(store: Runs) -> None:
    failed, refused = (opened(store.open(1, m, "milestone")) for m in (5, 10))
    store.finish(failed.id, "failed", candidate="trained-1", champion="starter")
    assert store.judged("trained-1", "starter") is None
    store.finish(refused.id, "refused", candidate="trained-1", champion="starter")
    assert opened(store.judged("trained-1", "starter")).id == refused.id


def test_a_candidate_is_judged_beside_one_champion_alone_unless_it_was_promoted(
    store: Runs,
) -> None:
    refused, promoted = (opened(store.open(1, m, "milestone")) for m in (5, 10))
    store.finish(refused.id, "refused", candidate="trained-1", champion="starter")
    assert store.judged("trained-1", "trained-0") is None
    store.finish(promoted.id, "promoted", candidate="trained-1", champion="trained-0")
    for champion in ("starter", "trained-0", "trained-1"):
        assert opened(store.judged("trained-1", champion)).id == promoted.id


def test_a_run_that_is_not_there_is_said_so(store: Runs) -> None:
    with pytest.raises(NotFound, match="no run 3"):
        store.get(3)


def test_runs_of_an_unknown_project_are_refused(store: Runs) -> None:
    with pytest.raises(NotFound, match="Project 9"):
        store.open(9, 5, "milestone")
