"""Finds the versions of an installation that may be deleted."""

from __future__ import annotations

from collections.abc import Collection

from backend.services import Services
from model.keeping.pruning import removable, superfluous
from model.versions import ModelVersion


def prunable(services: Services, newest: int, named: Collection[str] = ()) -> list[ModelVersion]:
    """Return the versions that no project and no run needs, oldest first.

    Parameters
    ----------
    newest
        The number of newest trained versions that each project keeps in any case.
    named
        Ids of the only versions that may go, even if among the newest; empty: any version of a
        project.
    """
    active = services.runs.unfinished()
    versions = services.registry.list()
    # A run names its candidate a moment after the registry has it.
    snapshots = {run.snapshot for run in active if run.snapshot}
    needed = {name for run in active for name in (run.candidate, run.champion) if name}
    needed |= {version.id for version in versions if version.snapshot in snapshots}
    champions = services.registry.champions()
    if named:
        return removable(versions, named, champions | needed)
    return superfluous(versions, champions, newest, needed)
