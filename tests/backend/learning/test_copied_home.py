"""A copy of the home, put back as README says."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from backend.datasets.export import export_csv
from backend.doctor.findings import Installation
from backend.doctor.storage import store, versions
from backend.learning.snapshots import build_snapshot, frozen, snapshot_file
from backend.services import Services, build_services
from model.classical.detector import CLASSICAL_ID
from preprocessing.groups import ContrastGroups


def promote(services: Services, project: int, version: str) -> None:
    """Have a run learn from what was corrected, and its version serve."""
    corrected = services.annotations.corrected_count(project)
    run = services.runs.open(project, corrected, "milestone")
    assert run is not None
    services.runs.start(run.id)
    snapshot = build_snapshot(services, project, print)
    snapshot.save(snapshot_file(services.settings, run.id))
    services.runs.freeze(run.id, snapshot.sha256, corrected, [])
    trained = replace(services.registry.get(CLASSICAL_ID), id=version, kind="trained")
    services.registry.add(trained, ContrastGroups.none(), None)
    services.registry.promote(str(project), version)
    services.runs.finish(run.id, "promoted", candidate=version)


def state(services: Services, project: int, boxes: Path) -> dict[str, Any]:
    """Return what a lab knows of its home: labels, images, runs, versions and logins."""
    export_csv(services, project, boxes)
    runs = services.runs.all(project)
    return {
        "credentials": services.credentials,
        "project": services.projects.get(project),
        "boxes": boxes.read_text(),
        "images": [
            services.images.path(i.sha256).read_bytes() for i in services.images.all(project)
        ],
        "runs": runs,
        "learned from": [frozen(services, run, print) for run in runs],
        "versions": services.registry.list(),
        "champion": services.registry.champion(str(project)),
    }


def test_a_copy_of_the_home_that_is_put_back_is_all_that_is_known(
    services: Services, project: int, correct_fields: Any, tmp_path: Path
) -> None:
    home, copy, away = services.settings.home, tmp_path / "copy", tmp_path / "away"
    correct_fields(range(5))
    promote(services, project, "trained-1")
    before = state(services, project, tmp_path / "before.csv")
    services.engine.dispose()
    shutil.copytree(home, copy)

    correct_fields(range(5, 10))
    promote(services, project, "trained-2")
    assert state(services, project, tmp_path / "after.csv")["champion"].id == "trained-2"
    home.rename(away)  # as it was left by a process that was killed
    assert (away / "cytoloop.db-wal").stat().st_size
    shutil.copytree(copy, home)

    restored = build_services(services.settings)
    try:
        assert state(restored, project, tmp_path / "restored.csv") == before
        installation = Installation(services.settings)
        findings = *store(installation), *versions(installation)
        assert [found.level for found in findings] == ["ok", "ok"]
        assert restored.runs.open(project, 10, "milestone") is not None
    finally:
        restored.engine.dispose()
