import json
import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from model.atomic import remove_folder
from model.classical.detector import CLASSICAL_ID, classical_version
from model.errors import (
    BrokenVersion,
    ChampionChanged,
    NothingToRollBack,
    VersionNotFound,
)
from model.judging.calibration import Calibration
from model.judging.policy import Policy
from model.keeping.champions import Champions
from model.keeping.registry import Registry
from model.keeping.starter import STARTER_ID
from preprocessing.groups import ContrastGroups
from tests.model.conftest import version

NONE = ContrastGroups.none()


def test_a_policy_is_kept_for_a_version_in_one_project_through_every_change(registry, weights):
    first, second = (registry.add(version(f"trained-{n}"), NONE, weights) for n in (1, 2))
    chosen = Policy(0.4, 0.2, Calibration(0.8, 0.1, {"low": 0.3}))
    before = registry.champion_stamp("1")
    registry.set_policy("1", first, lambda _: chosen)
    assert registry.champion_stamp("1") != before
    assert registry.champion("1").kind == "classical"
    registry.promote("1", first.id)
    registry.promote("1", second.id)
    assert registry.served_name("1") == "trained-2+t0.4"
    registry.rollback("1")
    assert registry.served_name("1") == f"trained-1+{chosen.id}"
    assert Registry(registry.root).policy("1", first) == chosen
    assert registry.policy("2", first) == Policy.of(first)


def test_a_policy_chosen_again_changes_nothing(registry, weights):
    first = registry.add(version("trained-1"), NONE, weights)
    assert registry.set_policy("1", first, lambda _: Policy(0.4, 0.2))
    before = registry.champion_stamp("1")
    assert not registry.set_policy("1", first, lambda _: Policy(0.4, 0.2))
    assert registry.champion_stamp("1") == before


def test_of_changes_of_a_policy_at_once_none_is_lost(registry, weights):
    first = registry.add(version("trained-1"), NONE, weights)

    def grow(policy):
        return replace(policy, cell_diameter_px=(policy.cell_diameter_px or 0) + 1)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: registry.set_policy("1", first, grow), range(40)))
    assert registry.policy("1", first).cell_diameter_px == 40


def test_the_starter_of_a_new_release_is_told_what_the_one_before_was(registry):
    starter = registry.get(STARTER_ID)
    before = replace(starter, id="starter-1")
    fitted = Policy(0.123, 0.2, Calibration(0.8, 0.1), cell_diameter_px=40.0)
    registry.set_policy("1", before, lambda _: fitted)
    assert registry.policy("1", starter) == replace(Policy.of(starter), cell_diameter_px=40.0)
    assert registry.policy("1", classical_version()) == Policy.of(classical_version())
    registry.set_policy("1", starter, lambda _: Policy.of(starter))
    assert registry.policy("1", starter).cell_diameter_px is None


def test_a_version_is_loaded_with_the_cell_diameter_that_the_project_told(registry):
    first = classical_version()
    registry.set_policy("1", first, lambda known: replace(known, cell_diameter_px=40.0))
    loaded = [registry.load_for(project, first) for project in "12"]
    assert [each.cell_diameter_px for each in loaded] == [40.0, None]


def test_promotion_changes_the_champion_of_one_project_alone(registry, weights):
    registry.add(version("trained-1"), NONE, weights)
    before = registry.champion_stamp("1")
    registry.promote("1", "trained-1")
    assert registry.champion("1").id == "trained-1"
    assert registry.champion("2").id == "classical-1"
    assert registry.champion_stamp("1") != before
    assert registry.champion_stamp("2") == before


def test_a_version_is_the_champion_of_the_projects_that_it_serves_now(registry, weights):
    for name in ("a", "b"):
        registry.add(version(name), NONE, weights)
    for project, name in (("1", "a"), ("2", "a"), ("2", "b"), ("3", "b"), ("4", "a")):
        registry.promote(project, name)
    registry.rollback("3")
    registry.set_policy("5", registry.get("a"), lambda _: Policy(0.4, 0.2))
    assert registry.champion_of("a") == ("1", "4")
    assert registry.champion_of("b") == ("2",)
    assert registry.champion_of("classical-1") == ("3", "5")


def test_every_change_of_champion_changes_the_stamp(registry):
    registry.add(version("a"), NONE, None)
    registry.add(version("b"), NONE, None)
    stamps = []
    for name in "abab":
        registry.promote("1", name)
        stamps.append(registry.champion_stamp("1"))
    assert len(set(stamps)) == 4


def test_rollback_goes_one_back_each_time(registry):
    for name in "abc":
        registry.add(version(name), NONE, None)
        registry.promote("1", name)
    assert [registry.rollback("1").id for _ in range(3)] == ["b", "a", "classical-1"]
    with pytest.raises(NothingToRollBack, match="models promote"):
        registry.rollback("1")
    assert registry.champion("1").id == "classical-1"


def test_a_rollback_tells_what_it_returned_to_though_another_is_promoted_at_once(tmp_path):
    class Hurried(Champions):
        """Between whose change and answer somebody else promotes."""

        def _change(self, project, action, choose):
            chosen = super()._change(project, action, choose)
            if action == "rolled back":
                Champions(self.folder, self.first).promote(project, "c")
            return chosen

    champions = Hurried(tmp_path, "classical-1")
    for name in "ab":
        champions.promote("1", name)
    assert champions.rollback("1", lambda id: None) == "a"
    assert champions.current("1") == "c"


def test_a_version_promoted_after_a_rollback_rolls_back_to_what_served_before_it(registry):
    for name in "abc":
        registry.add(version(name), NONE, None)
    registry.promote("1", "a")
    registry.promote("1", "b")
    registry.rollback("1")
    registry.promote("1", "c")
    assert registry.rollback("1").id == "a"


def test_a_project_keeps_the_champion_it_went_back_to_though_another_is_now_the_first(registry):
    registry.add(version("a"), NONE, None)
    registry.promote("1", "a")
    registry.rollback("1")
    today = Registry(registry.root, first=STARTER_ID)
    with pytest.raises(NothingToRollBack, match="before classical-1"):
        today.rollback("1")
    today.promote("1", STARTER_ID)
    assert [today.champion(project).id for project in "12"] == [STARTER_ID, STARTER_ID]
    assert today.rollback("1").id == today.champion("1").id == "classical-1"


def test_a_champion_whose_folder_is_gone_is_told_with_what_chooses_another(registry):
    for name in "ab":
        registry.add(version(name), NONE, None)
        registry.promote("1", name)
    remove_folder(registry.root / "versions" / "b")
    with pytest.raises(BrokenVersion, match=r"b, the champion of project 1, .* models rollback"):
        registry.champion("1")
    assert registry.rollback("1").id == registry.champion("1").id == "a"


def test_a_rollback_to_a_version_that_is_gone_leaves_the_champion(registry):
    for name in "ab":
        registry.add(version(name), NONE, None)
        registry.promote("1", name)
    remove_folder(registry.root / "versions" / "a")
    with pytest.raises(VersionNotFound):
        registry.rollback("1")
    assert registry.champion("1").id == "b"


def test_the_history_keeps_every_change_with_its_time(registry):
    registry.add(version("a"), NONE, None)
    registry.promote("1", "a")
    registry.promote("1", "a")
    registry.rollback("1")
    history = registry.history("1")
    assert [(c.champion, c.action) for c in history] == [
        ("a", "promoted"),
        ("classical-1", "rolled back"),
    ]
    assert all(c.at.endswith("+00:00") for c in history)


def test_what_served_at_a_moment_is_told(registry):
    for name in "ab":
        registry.add(version(name), NONE, None)
        registry.promote("1", name)
    pointer = registry.root / "champions" / "1.json"
    told = json.loads(pointer.read_text())
    for change, day in zip(told["history"], (2, 4), strict=True):
        change["at"] = datetime(2027, 1, day, tzinfo=UTC).isoformat()
    pointer.write_text(json.dumps(told))
    days = [datetime(2027, 1, day, tzinfo=UTC) for day in range(1, 6)]
    assert [registry.champion_at("1", day) for day in days] == ["", "a", "a", "b", "b"]


def test_a_version_is_promoted_instead_of_the_champion_it_was_compared_with_alone(registry):
    for name in "ab":
        registry.add(version(name), NONE, None)
    registry.promote("1", "a", instead_of=CLASSICAL_ID)
    with pytest.raises(ChampionChanged, match="a serves project 1 by now, not classical-1"):
        registry.promote("1", "b", instead_of=CLASSICAL_ID)
    registry.promote("1", "a", instead_of=CLASSICAL_ID)
    registry.promote("1", "b")
    assert [change.champion for change in registry.history("1")] == ["a", "b"]


def test_only_a_version_that_can_be_read_is_promoted(registry, weights):
    with pytest.raises(VersionNotFound):
        registry.promote("1", "trained-1")
    registry.add(version("trained-1"), NONE, weights)
    (registry.root / "versions" / "trained-1" / "version.json").write_text("{")
    with pytest.raises(BrokenVersion):
        registry.promote("1", "trained-1")
    assert registry.champion("1").id == "classical-1"


def test_a_corrupt_champion_file_says_what_to_do(registry):
    registry.add(version("a"), NONE, None)
    registry.promote("1", "a")
    (registry.root / "champions" / "1.json").write_text("{")
    with pytest.raises(BrokenVersion, match="move it away, then choose a champion"):
        registry.champion("1")


def test_a_corrupt_champion_file_is_known_by_its_project_and_has_no_say(registry):
    for name in "ab":
        registry.add(version(name), NONE, None)
        registry.promote("1", name)
    registry.promote("2", "b")
    registry.rollback("1")
    (registry.root / "champions" / "2.json").write_text("{")
    assert list(registry.broken_champions()) == ["2"]
    assert registry.promoted_in() == registry.champion_of("a") == ("1",)
    assert registry.newest().id == "a"  # of those that can be told all rolled back from b


def test_while_it_cannot_be_told_what_serves_a_project_no_version_is_removed(registry):
    registry.add(version("a"), NONE, None)
    registry.promote("1", "a")
    (registry.root / "champions" / "1.json").write_text("{")
    with pytest.raises(BrokenVersion, match="move it away"):
        registry.remove("a")
    assert registry.get("a").id == "a"


@pytest.mark.parametrize("project", ["", "../1", "a/b", "1\n"])
def test_a_project_never_leads_out_of_the_registry(registry, project):
    with pytest.raises(ValueError, match="is no project"):
        registry.promote(project, "classical-1")


def test_a_reader_sees_a_whole_champion_while_another_promotes(registry):
    for name in "ab":
        registry.add(version(name), NONE, None)
    registry.promote("1", "a")
    done = threading.Event()
    seen = []

    def read():
        while not done.is_set():
            seen.append(registry.champion("1").id)

    reader = threading.Thread(target=read)
    reader.start()
    for name in "ba" * 15:
        registry.promote("1", name)
    done.set()
    reader.join()
    assert len(seen) > 5
    assert set(seen) <= {"a", "b"}


def _promote_often(root, names):
    for name in names:
        Registry(root).promote("1", name)


@pytest.mark.integration
def test_two_processes_that_promote_at_once_lose_no_change(registry):
    for name in "abcd":
        registry.add(version(name), NONE, None)
    spawn = multiprocessing.get_context("spawn")
    writers = [
        spawn.Process(target=_promote_often, args=(registry.root, names * 10))
        for names in ("ab", "cd")
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(registry.history("1")) == 40


def test_a_copy_beside_the_champions_is_of_no_project(registry, weights):
    registry.add(version("trained-1"), NONE, weights)
    registry.promote("7", "trained-1")
    champion = registry.root / "champions" / "7.json"
    champion.with_name("7 copy.json").write_text(champion.read_text())
    assert registry.promoted_in() == ("7",)
    assert registry.champion_of("trained-1") == ("7",)
    assert registry.champions() == {"trained-1"}
