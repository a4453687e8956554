from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

from sqlalchemy import text

from backend.doctor import storage
from backend.doctor.findings import Installation
from backend.doctor.projects import projects as projects_of
from backend.services import Services
from backend.settings import Settings
from backend.store.database import open_database
from backend.store.projects import Projects
from model.classical.detector import CLASSICAL_ID
from preprocessing.groups import ContrastGroups
from tests.backend.conftest import LABEL_CONFIG, no_room
from tests.backend.doctor.conftest import only


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    installation = Installation(Settings(home=tmp_path / "home"))
    assert only(storage.store(installation)).level == "ok"
    assert storage.known_projects(installation) == []
    assert not installation.settings.home.exists()


def test_a_store_says_what_it_holds(services: Services, project: int) -> None:
    services.runs.open(project, 5, "milestone")
    found = only(storage.store(Installation(services.settings)))
    assert found.level == "ok"
    assert found.says.endswith("1 project, 1 waiting or running")


def test_tables_are_made_by_the_next_start_and_not_by_the_doctor(tmp_path: Path) -> None:
    (tmp_path / "cytoloop.db").touch()
    installation = Installation(Settings(home=tmp_path))
    for _ in range(2):
        found = only(storage.store(installation))
        assert (found.level, "cytoloop up" in found.mend) == ("warn", True)
    assert storage.known_projects(installation) is None


def test_a_store_of_another_cytoloop_is_refused(services: Services, project: int) -> None:
    with services.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0013'"))
    installation = Installation(services.settings)
    found = only(storage.store(installation))
    assert (found.level, "revision 0013" in found.says) == ("fail", True)
    assert "Another Cytoloop made it" in found.mend
    assert storage.known_projects(installation) is None


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "cytoloop.db").write_bytes(b"not a database" * 100)
    found = only(storage.store(Installation(Settings(home=tmp_path))))
    assert found.level == "fail"
    assert "not a database" in found.says


def test_a_database_in_the_home_that_another_took_the_place_of_is_told(
    services: Services, project: int, tmp_path: Path
) -> None:
    settings, own = services.settings, services.settings.database_address
    other = settings.model_copy(update={"database_url": f"sqlite:///{tmp_path / 'other.db'}"})
    left, missing = storage.store(Installation(other))
    assert (left.level, missing.level) == ("warn", "ok")
    assert f"{settings.home / 'cytoloop.db'} is not read" in left.says
    for named in ("", own):
        installation = Installation(settings.model_copy(update={"database_url": named}))
        assert only(storage.store(installation)).level == "ok"
    link = tmp_path / "link"
    link.symlink_to(settings.home)
    for home, named in ((link, own), (settings.home, f"sqlite:///{link / 'cytoloop.db'}")):
        linked = settings.model_copy(update={"home": home, "database_url": named})
        assert only(storage.store(Installation(linked))).level == "ok"


def test_a_full_disk_is_no_damage_and_what_cannot_be_read_is_unknown(
    services: Services, project: int
) -> None:
    services.engine.dispose()
    installation = Installation(services.settings)
    with no_room():
        found, projects = only(storage.store(installation)), only(projects_of(installation))
    assert (found.level, "disk I/O error" in found.says) == ("fail", True)
    assert "make room" in found.mend
    assert "-wal" not in found.mend
    assert projects.says == "unknown, since the store cannot be read"


def test_a_copy_put_back_as_is_told_is_what_is_read(services: Services, tmp_path: Path) -> None:
    written, file = services.settings.home / "cytoloop.db", tmp_path / "cytoloop.db"
    services.projects.ensure(1, "copied", LABEL_CONFIG)
    services.engine.dispose()
    copy = written.read_bytes()
    services.projects.ensure(1, "changed", LABEL_CONFIG)
    shutil.copy(f"{written}-wal", f"{file}-wal")  # as a process leaves it that is killed
    file.write_bytes(b"not a database" * 100)
    told = only(storage.store(Installation(Settings(home=tmp_path)))).mend
    for left_over in re.findall(r"\S+-(?:wal|shm)\b", told):
        Path(left_over).unlink(missing_ok=True)
    file.write_bytes(copy)
    engine = open_database(f"sqlite:///{file}")
    assert Projects(engine, services.settings).get(1).title == "copied"
    engine.dispose()


def test_a_champion_that_is_gone_is_told_and_the_one_before_serves_as_is_told(
    services: Services, project: int
) -> None:
    registry, installation = services.registry, Installation(services.settings)
    assert [found.level for found in storage.versions(installation)] == ["ok"]
    version = replace(registry.get(CLASSICAL_ID), id="trained-1", kind="trained")
    registry.add(version, ContrastGroups.none(), None)
    registry.promote(str(project), version.id)
    shutil.rmtree(registry.root / "versions" / version.id)
    found = only(storage.versions(installation))
    assert (found.level, "not in the registry any more" in found.says) == ("fail", True)
    assert found.mend == f"cytoloop models rollback --project {project}"
    registry.rollback(str(project))
    assert only(storage.versions(installation)).level == "ok"


def test_where_it_is_unknown_what_serves_no_roll_back_is_advised(
    services: Services, project: int
) -> None:
    pointer = services.registry.root / "champions" / f"{project}.json"
    pointer.parent.mkdir(parents=True, exist_ok=True)
    pointer.write_text("torn", "utf-8")
    found = only(storage.versions(Installation(services.settings)))
    assert (found.level, found.says) == (
        "fail",
        f"which version serves project {project} is unknown",
    )
    assert f"{pointer} cannot be read" in found.mend
    assert "move it away, then choose a champion" in found.mend
    assert "rollback" not in found.mend
