from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result

from backend.datasets.label_config import label_config_of
from backend.services import build_services
from backend.settings import Settings
from model.atomic import locked
from model.classical.detector import CLASSICAL_ID
from model.judging.calibration import Calibration
from model.judging.policy import Policy
from model.keeping.registry import Registry
from model.keeping.starter import STARTER_ID
from model.versions import Course, ModelVersion
from preprocessing.groups import ContrastGroups
from tests.backend.conftest import no_room
from tests.conftest import wait_until

Run = Callable[..., Result]
CONFIG = label_config_of(("Nucleus",))


@pytest.fixture
def version(home: Path) -> str:
    """A version in the registry, without weights, since nothing here loads it."""
    known = {"lineage": ("a" * 64,), "course": Course(360, True)}
    made = ModelVersion("trained-1", "trained", ("Nucleus",), 0.5, project="7", **known)
    return Registry(home / "registry").add(made, ContrastGroups.none(), None).id


@pytest.fixture
def add_project(home: Path) -> Callable[[int], None]:
    def add(id: int) -> None:
        services = build_services(Settings(home=home))
        services.projects.ensure(id, f"proj{id}", CONFIG)
        services.engine.dispose()

    return add


def test_list_and_show_tell_what_there_is(run: Run, version: str) -> None:
    lines = run("models", "list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["version", CLASSICAL_ID, STARTER_ID, version]
    shown = run("models", "show", version).stdout
    assert "Nucleus" in shown
    assert "in 360 steps, the first layers kept as they were" in shown
    assert json.loads(run("models", "show", version, "--json").stdout)["id"] == version
    assert len(json.loads(run("models", "list", "--json").stdout)) == 3
    starter = run("models", "show", STARTER_ID).stdout.splitlines()
    assert {"classes     any", "detector    Faster R-CNN on mbv2_half_64"} < set(starter)


def test_promote_and_rollback_move_the_only_projects_champion(
    run: Run, version: str, add_project: Callable[[int], None]
) -> None:
    add_project(7)
    promoted = run("models", "promote", version)
    assert f"{version} is the champion of project 7" in promoted.stdout
    assert "Redis" in promoted.stderr  # away: reported, and the champion still changes
    assert run("models", "list").stdout.splitlines()[-1].endswith(" 7")
    assert STARTER_ID in run("models", "rollback").stdout
    again = run("models", "rollback")
    assert again.exit_code == 2
    assert "Error:" in again.stderr


@pytest.fixture
def told(home: Path, version: str, add_project: Callable[[int], None]) -> Registry:
    """Two champions of project 7, one after the other, with boxes chosen for the least work."""
    add_project(7)
    registry = Registry(home / "registry")
    registry.add(replace(registry.get(version), id="trained-2"), ContrastGroups.none(), None)
    for id in (version, "trained-2"):
        told = Policy(0.5, 0.21, Calibration(0.8, 0.1))
        registry.set_policy("7", registry.get(id), lambda _, told=told: told)
        registry.promote("7", id)
    return registry


@pytest.mark.parametrize("words", [("rollback",), ("promote", "trained-1")])
def test_a_version_that_serves_again_shows_what_the_project_was_told_since(
    run: Run, told: Registry, words: tuple[str, ...]
) -> None:
    run("project", "--as-counted")
    assert told.served_name("7") == "trained-2+t0.5"
    run("models", *words)
    assert told.served_name("7") == "trained-1+t0.5"


def test_a_version_that_serves_again_keeps_its_boxes_of_the_least_work(
    run: Run, told: Registry
) -> None:
    before = told.policy("7", told.get("trained-1"))
    run("models", "rollback")
    assert told.policy("7", told.champion("7")) == before


def test_to_show_what_counts_can_be_told_again(run: Run, told: Registry) -> None:
    run("project", "--as-counted")
    told.rollback("7")  # as by a release that left its boxes as they were
    assert told.served_name("7").startswith("trained-1+p0.21")
    run("project", "--as-counted")
    assert told.served_name("7") == "trained-1+t0.5"


def test_a_champion_that_cannot_be_read_is_named_and_stops_no_command(
    run: Run, home: Path, version: str, add_project: Callable[[int], None]
) -> None:
    add_project(7)
    run("models", "promote", version)
    never_served = replace(Registry(home / "registry").get(version), id="trained-2")
    Registry(home / "registry").add(never_served, ContrastGroups.none(), None)
    (home / "registry" / "versions" / version / "version.json").write_text("{")

    listed = run("models", "list")
    assert (listed.exit_code, f"{version} is broken" in listed.stderr) == (0, True)
    assert "trained-2" in listed.stdout
    assert f"champion   {version}" in run("status").stdout
    assert "Removed 1 version" in run("models", "prune", "--keep", 0, "--yes").stdout


def test_a_pointer_that_cannot_be_read_hides_neither_versions_nor_other_projects(
    run: Run, home: Path, version: str, add_project: Callable[[int], None]
) -> None:
    for project in (7, 8):
        add_project(project)
        run("models", "promote", version, "--project", project)
    pointer = home / "registry" / "champions" / "7.json"
    pointer.write_text("{")

    listed, shown = run("models", "list"), run("status")
    assert (listed.exit_code, shown.exit_code) == (0, 0), listed.output + shown.output
    assert f"{pointer} cannot be read" in listed.stderr
    assert next(line for line in listed.stdout.splitlines() if version in line).endswith(" 8")
    assert "champion   cannot be read: cytoloop models list says why" in shown.stdout
    assert f"champion   {version}" in shown.stdout


def test_one_of_several_projects_must_be_named(
    run: Run, version: str, add_project: Callable[[int], None]
) -> None:
    assert "There is no project yet" in run("models", "promote", version).stderr
    add_project(1)
    add_project(2)
    result = run("models", "promote", version)
    assert result.exit_code == 2
    assert "1 (proj1), 2 (proj2)" in result.stderr
    for words in (("models", "promote", version), ("models", "list"), ("runs", "list")):
        assert run(*words, "--project", 2).exit_code == 0
        unknown = run(*words, "--project", 3)
        assert (unknown.exit_code, unknown.stdout) == (2, "")
        assert "Project 3 is not known to Cytoloop" in unknown.stderr


def test_a_version_of_other_classes_is_promoted_once_it_is_said_what_becomes_of_them(
    run: Run, home: Path, add_project: Callable[[int], None]
) -> None:
    add_project(2)
    registry = Registry(home / "registry")
    blood = ModelVersion("trained-1", "trained", ("RBC", "WBC"), 0.5, project="1")
    some = ModelVersion("trained-2", "trained", ("Nucleus", "WBC"), 0.5)
    for made in (blood, some):
        registry.add(made, ContrastGroups.none(), None)

    asked = run("models", "promote", "trained-1")
    told = "learned RBC, WBC for project 1; its boxes will all be called Nucleus here."
    assert (asked.exit_code, told in asked.stderr) == (1, True)
    assert registry.history("2") == ()
    assert "is the champion" in run("models", "promote", "trained-1", answer="y\n").stdout
    assert "trained-1" in run("models", "list", "--project", 2).stdout
    agreed = run("models", "promote", "trained-2", "--yes")
    assert "its boxes of WBC will be called Nucleus here." in agreed.stderr
    assert registry.champion_id("2") == "trained-2"


def test_a_version_that_is_not_there_is_no_champion(
    run: Run, add_project: Callable[[int], None]
) -> None:
    add_project(1)
    result = run("models", "promote", "../../etc")
    assert result.exit_code == 2
    assert "no version id" in result.stderr


@pytest.fixture
def versions(home: Path, version: str) -> list[str]:
    """Four versions of project 7: the second is its champion, the third was."""
    registry = Registry(home / "registry")
    for number in (2, 3, 4):
        made = ModelVersion(
            f"trained-{number}", "trained", ("Nucleus",), 0.5, project="7", parent=None
        )
        registry.add(made, ContrastGroups.none(), None)
    registry.promote("7", "trained-3")
    registry.promote("7", "trained-2")
    return [version, *(f"trained-{number}" for number in (2, 3, 4))]


def kept(home: Path) -> list[str]:
    return [version.id for version in Registry(home / "registry").list()]


def test_prune_says_what_it_removes_and_asks_first(
    run: Run, home: Path, versions: list[str]
) -> None:
    asked = run("models", "prune", "--keep", 0)
    assert asked.exit_code == 1
    listed = [line.split()[0] for line in asked.stdout.splitlines()[:3]]
    assert listed == ["version", "trained-1", "trained-4"]
    assert kept(home) == [CLASSICAL_ID, STARTER_ID, *versions]
    assert "Removed 2 versions" in run("models", "prune", "--keep", 0, "--yes").stdout
    assert kept(home) == [CLASSICAL_ID, STARTER_ID, "trained-2", "trained-3"]
    assert run("models", "rollback", "--project", 7).exit_code == 2  # no such project here
    assert run("models", "prune", "--keep", 0).stdout == "There is nothing to remove.\n"


def test_prune_says_how_to_remove_new_versions_where_no_others_can_go(
    run: Run, versions: list[str]
) -> None:
    told = "There is nothing to remove: --keep 0 removes 2 new versions too.\n"
    assert run("models", "prune").stdout == told


def test_what_was_trained_for_no_project_is_removed_where_it_is_named_alone(
    run: Run, home: Path, versions: list[str]
) -> None:
    registry = Registry(home / "registry")
    for name, parent in (("own", None), ("child", "trained-1")):
        made = ModelVersion(f"trained-{name}", "trained", ("Nucleus",), 0.5, parent=parent)
        registry.add(made, ContrastGroups.none(), None)
    assert "Removed 1 version" in run("models", "prune", "--keep", 0, "--yes").stdout
    assert {"trained-own", "trained-child", "trained-1"} < set(kept(home))
    told = run("models", "prune", "trained-own", "trained-1", "trained-2", "--yes")
    assert "Removed 1 version" in told.stdout
    for id in ("trained-1", "trained-2"):
        assert f"{id} not removed: a project, a run or a version that stays needs it" in told.stderr
    assert "trained-own" not in kept(home)
    assert "Removed 2" in run("models", "prune", "trained-child", "trained-1", "--yes").stdout
    assert "no version trained-x" in run("models", "prune", "trained-x").stderr


def run_works_with(home: Path, candidate: str) -> None:
    services = build_services(Settings(home=home))
    waiting = services.runs.open(7, 5, "button")
    assert waiting is not None
    services.runs.start(waiting.id)
    services.runs.progress(waiting.id, candidate=candidate)
    services.engine.dispose()


def test_prune_leaves_what_a_run_works_with(
    run: Run, home: Path, versions: list[str], add_project: Callable[[int], None]
) -> None:
    add_project(7)
    run_works_with(home, "trained-4")
    run("models", "prune", "--keep", 0, "--yes")
    assert kept(home) == [CLASSICAL_ID, STARTER_ID, "trained-2", "trained-3", "trained-4"]


def test_prune_makes_room_on_a_full_disk(
    run: Run, home: Path, versions: list[str], add_project: Callable[[int], None]
) -> None:
    add_project(7)
    run_works_with(home, "trained-4")
    with no_room():
        told = run("models", "prune", "--keep", 0, "--yes")
    assert "Removed 1 version" in told.stdout
    assert kept(home) == [CLASSICAL_ID, STARTER_ID, "trained-2", "trained-3", "trained-4"]


class Slowly(io.BytesIO):
    """A person who says yes, after something has happened."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        super().__init__(b"y\n")
        self._meanwhile = meanwhile

    def read1(self, size: int | None = -1, /) -> bytes:
        self._meanwhile()
        return super().read1(size)


def test_prune_leaves_what_came_into_use_while_the_list_was_read_and_goes_on(
    run: Run, home: Path, versions: list[str]
) -> None:
    registry = Registry(home / "registry")
    for id in ("trained-5", "trained-6"):
        registry.add(replace(registry.get("trained-4"), id=id), ContrastGroups.none(), None)
    folder = registry.weights("trained-5").parent

    def meanwhile() -> None:
        registry.promote("7", "trained-4")
        shutil.rmtree(folder, ignore_errors=True)

    told = run("models", "prune", "--keep", 0, answer=Slowly(meanwhile))
    assert told.exit_code == 0
    for id in ("trained-4", "trained-5"):
        assert f"{id} not removed: it is of use by now, or gone" in told.stderr
    assert "Removed 2 versions" in told.stdout
    assert kept(home) == [CLASSICAL_ID, STARTER_ID, "trained-2", "trained-3", "trained-4"]


def is_waited_for(lock: Path) -> bool:
    """Tell whether somebody waits for a lock that another holds, by the kernel's own list."""
    held = Path("/proc/locks").read_text().splitlines()
    return any("->" in line and f":{lock.stat().st_ino} " in line for line in held)


def test_prune_goes_on_over_a_version_that_another_one_removes_at_the_same_time(
    run: Run, home: Path, versions: list[str]
) -> None:
    root = home / "registry"
    with ThreadPoolExecutor() as pool:
        with locked(root / "removing.lock"):
            pruning = pool.submit(run, "models", "prune", "--keep", 0, "--yes")
            wait_until(lambda: is_waited_for(root / "removing.lock"))
            shutil.rmtree(root / "versions" / "trained-1")
        told = pruning.result()
    assert (told.exit_code, "trained-1 not removed: " in told.stderr) == (0, True)
    assert "Removed 1 version:" in told.stdout
    assert kept(home) == [CLASSICAL_ID, STARTER_ID, "trained-2", "trained-3"]
