from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from typing import Any

import pytest

from backend.serving.errors import NotReady
from backend.serving.slot import Slot
from model.classical.detector import CLASSICAL_ID
from model.judging.policy import Policy
from model.keeping.registry import Registry
from tests.conftest import wait_until

Trained = Callable[..., Any]
#: For a load on a busy machine.
PATIENT_S = 60.0


@pytest.fixture
def slot(registry: Registry) -> Iterator[Slot]:
    with closing(Slot(registry, "cpu")) as made:
        yield made


def test_before_anything_was_learned_the_classical_version_serves(slot: Slot) -> None:
    served = slot.current("1", wait_s=PATIENT_S)

    assert served.loaded.version.id == CLASSICAL_ID
    assert served.name == slot.name("1") == "classical-1+t0.5"


def test_a_new_champion_is_loaded_in_the_background_and_then_serves(
    registry: Any, trained: Trained, slot: Slot
) -> None:
    slot.current("1", wait_s=PATIENT_S)
    trained("trained-a")
    registry.may_load.clear()
    registry.promote("1", "trained-a")

    assert slot.current("1", wait_s=PATIENT_S).loaded.version.id == CLASSICAL_ID
    registry.may_load.set()
    wait_until(lambda: slot.current("1", wait_s=PATIENT_S).loaded.version.id == "trained-a")
    assert slot.name("1") == "trained-a+t0.5"


def test_setup_is_named_at_once_while_the_first_load_goes_on(
    registry: Any, trained: Trained, slot: Slot
) -> None:
    trained("trained-a")
    registry.promote("1", "trained-a")
    registry.may_load.clear()

    named = slot.name("1")

    registry.may_load.set()
    assert slot.current("1", wait_s=PATIENT_S).name == named
    assert registry.loads == ["trained-a"]


def test_a_first_load_that_takes_too_long_says_to_ask_again(
    registry: Any, trained: Trained, slot: Slot
) -> None:
    trained("trained-a")
    registry.promote("1", "trained-a")
    registry.may_load.clear()

    with pytest.raises(NotReady, match="ask again"):
        slot.current("1", wait_s=0.02)

    registry.may_load.set()
    assert slot.current("1", wait_s=PATIENT_S).loaded.version.id == "trained-a"
    assert registry.loads == ["trained-a"]


def test_a_version_that_gives_way_before_it_answers_says_to_ask_again(registry: Registry) -> None:
    with closing(Slot(registry, "cpu", capacity=0)) as slot:
        with pytest.raises(NotReady, match="ask again"):
            slot.current("1", wait_s=PATIENT_S)
        assert slot.loaded_names() == {}


def test_a_broken_champion_leaves_the_one_before_serving_and_is_reported(
    registry: Any, trained: Trained, slot: Slot
) -> None:
    trained("trained-a")
    trained("trained-b")
    registry.broken.add("trained-b")
    registry.promote("1", "trained-a")
    slot.current("1", wait_s=PATIENT_S)
    registry.promote("1", "trained-b")

    slot.current("1", wait_s=PATIENT_S)
    wait_until(lambda: bool(slot.problem("1")))

    assert "trained-b is broken" in slot.problem("1")
    for _ in range(3):
        assert slot.current("1", wait_s=PATIENT_S).loaded.version.id == "trained-a"
    assert registry.loads == ["trained-a", "trained-b"]
    registry.rollback("1")
    slot.current("1", wait_s=PATIENT_S)
    wait_until(lambda: not slot.problem("1"))
    assert slot.name("1") == "trained-a+t0.5"


def test_a_first_champion_that_is_broken_leaves_the_classical_version_serving(
    registry: Any, trained: Trained, slot: Slot
) -> None:
    trained("trained-a")
    registry.promote("1", "trained-a")
    (registry.root / "versions" / "trained-a" / "version.json").write_text("{")

    named = slot.name("1")

    assert named == slot.current("1", wait_s=PATIENT_S).name == "classical-1+t0.5"
    assert "trained-a is broken" in slot.problem("1")


def test_a_broken_champion_is_tried_again_later(
    registry: Any, trained: Trained, slot: Slot, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained("trained-a")
    registry.broken.add("trained-a")
    registry.promote("1", "trained-a")
    slot.current("1", wait_s=PATIENT_S)
    registry.broken.clear()
    monkeypatch.setattr("backend.serving.slot.RETRY_S", 0.0)

    slot.current("1", wait_s=PATIENT_S)

    wait_until(lambda: slot.name("1") == "trained-a+t0.5")
    assert slot.problem("1") == ""


def test_a_new_policy_serves_without_another_load_and_in_its_project_alone(
    registry: Any, trained: Trained, slot: Slot
) -> None:
    version = trained("trained-a")
    for project in ("1", "2"):
        registry.promote(project, "trained-a")
        slot.current(project, wait_s=PATIENT_S)
    policy = Policy(0.5, 0.2)
    registry.set_policy("1", version, lambda _: policy)

    wait_until(lambda: slot.current("1", wait_s=PATIENT_S).policy == policy)
    assert slot.name("1") == f"trained-a+{policy.id}"
    assert slot.name("2") == "trained-a+t0.5"
    assert registry.loads == ["trained-a"]


def test_projects_of_one_champion_share_what_is_loaded(
    registry: Any, trained: Trained, slot: Slot
) -> None:
    trained("trained-a")
    for project in ("1", "2"):
        registry.promote(project, "trained-a")

    assert slot.current("1", wait_s=PATIENT_S).loaded is slot.current("2", wait_s=PATIENT_S).loaded
    assert registry.loads == ["trained-a"]


def test_the_project_not_asked_for_longest_gives_way(registry: Any) -> None:
    with closing(Slot(registry, "cpu", capacity=2)) as slot:
        for project in ("1", "2", "1", "3"):
            slot.current(project, wait_s=PATIENT_S)

        assert set(slot.loaded_names()) == {"1", "3"}
        assert slot.current("2", wait_s=PATIENT_S).loaded.version.id == CLASSICAL_ID


def test_who_looks_on_has_nothing_loaded_and_keeps_nothing(registry: Any, trained: Trained) -> None:
    for project in ("1", "2", "3"):
        trained(f"trained-{project}")
        registry.promote(project, f"trained-{project}")
    with closing(Slot(registry, "cpu", capacity=2)) as slot:
        for project in ("1", "2"):
            slot.current(project, wait_s=PATIENT_S)
        seen = [slot.peek(project) for project in ("3", "2", "1")]
        slot.current("3", wait_s=PATIENT_S)

        assert seen == ["trained-3+t0.5", "trained-2+t0.5", "trained-1+t0.5"]
        assert set(slot.loaded_names()) == {"2", "3"}
        assert registry.loads == ["trained-1", "trained-2", "trained-3"]


def test_who_looks_on_sees_the_new_champion_of_a_project_that_is_loaded(
    registry: Any, trained: Trained, slot: Slot
) -> None:
    slot.current("1", wait_s=PATIENT_S)
    trained("trained-a")
    registry.promote("1", "trained-a")

    assert slot.peek("1") == "classical-1+t0.5"
    wait_until(lambda: slot.peek("1") == "trained-a+t0.5")


@pytest.mark.integration
def test_no_request_fails_or_is_answered_by_two_versions_while_champions_change(
    registry: Any, trained: Trained, slot: Slot
) -> None:
    ids = [f"trained-{letter}" for letter in "abcdef"]
    for id in ids:
        trained(id)
    registry.promote("1", ids[0])
    slot.current("1", wait_s=PATIENT_S)
    done = threading.Event()
    seen: list[set[str]] = [set() for _ in range(4)]
    mixed: list[tuple[str, str, str]] = []
    failed: list[BaseException] = []

    def ask(mine: set[str]) -> None:
        try:
            while not done.is_set():
                served = slot.current("1", wait_s=0)
                said = (
                    served.loaded.version.id,
                    served.loaded.detector.name,
                    served.name.partition("+")[0],
                )
                if len(set(said)) != 1:
                    mixed.append(said)
                mine.add(said[0])
        except Exception as error:
            failed.append(error)

    def was_seen_by_all(id: str) -> bool:
        return bool(failed) or all(id in mine for mine in seen)

    threads = [threading.Thread(target=ask, args=(mine,)) for mine in seen]
    for thread in threads:
        thread.start()
    for id in (*ids, *ids):  # the second time without a pause
        registry.promote("1", id)
        wait_until(partial(was_seen_by_all, id))
    done.set()
    for thread in threads:
        thread.join()

    assert failed == []
    assert mixed == []
