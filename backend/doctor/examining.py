"""Runs the whole examination, one part after the other."""

from __future__ import annotations

from collections.abc import Iterator

from backend.doctor import machine, projects, services, storage
from backend.doctor.findings import REPORT, Check, Finding, Installation, fail
from backend.errors import BackendError
from backend.settings import Settings
from model.errors import ModelError

#: In order of dependence: each check relies on those before.
CHECKS: tuple[Check, ...] = (
    machine.packages,
    machine.settings,
    machine.home,
    machine.disk,
    machine.gpu,
    storage.store,
    storage.versions,
    services.redis,
    services.worker,
    services.web,
    services.label_studio,
    projects.projects,
)


def examine(settings: Settings, checks: tuple[Check, ...] = CHECKS) -> Iterator[Finding]:
    """Look at every part of an installation; yield each finding at once."""
    installation = Installation(settings)
    for check in checks:
        try:
            yield from check(installation)
        # A check that breaks must not hide the others.
        except Exception as error:  # noqa: BLE001
            yield _broken(check, error)


def _broken(check: Check, error: Exception) -> Finding:
    about = check.__name__.replace("_", " ").capitalize()
    if isinstance(error, BackendError | ModelError):  # its message says what to do
        return fail(about, "could not be looked at", str(error))
    says = f"could not be looked at: {type(error).__name__}: {error}"
    return fail(about, says, REPORT)
