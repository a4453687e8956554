"""Chooses the project and the version of a command that names none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from backend.cli.console import say, warn
from backend.cli.options import services_from
from backend.errors import BadRequest

if TYPE_CHECKING:  # these import SQLAlchemy and numpy, too slow for --help
    from backend.settings import Settings
    from backend.store.projects import Project, Projects
    from model.judging.calibration import Calibration
    from model.keeping.registry import Registry
    from model.versions import ModelVersion


def choose_project(projects: Projects, wanted: int | None) -> Project:
    """Return the project of that id, or the only one there is.

    Raises
    ------
    NotFound
        There is no project of that id.
    BadRequest
        No project was named, and there is not exactly one.
    """
    if wanted is not None:
        return projects.get(wanted)
    known = projects.all()
    if len(known) == 1:
        return known[0]
    if not known:
        raise BadRequest("There is no project yet: `cytoloop up` makes one, `connect` takes one.")
    names = ", ".join(f"{project.id} ({project.title})" for project in known)
    raise BadRequest(f"There are several projects: {names}. Choose one with --project ID.")


def named_project(settings: Settings, wanted: int | None) -> Project | None:
    """Return the named project; None if none was named, which needs no database."""
    if wanted is None:
        return None
    services = services_from(settings.home, to_read=True)
    return choose_project(services.projects, wanted)


@dataclass(frozen=True)
class Choice:
    """A version, and the project for which it is used.

    Parameters
    ----------
    project
        The project's name in the registry; None for no project.
    """

    version: ModelVersion
    project: str | None


def choose_version(registry: Registry, wanted: str | None, project: Project | None) -> Choice:
    """Return the requested version, or the most obvious one.

    That is the named project's champion; without a project, the champion of the only project that
    has one; otherwise the newest trained version that was neither refused nor rolled back;
    otherwise the registry's first. A choice that was not named is announced, and so is each project
    that is ignored because its champion cannot be read.
    """
    if wanted:
        return Choice(registry.get(wanted), str(project.id) if project else None)
    if project is not None:
        champion = registry.champion(str(project.id))
        say(f"Using {champion.id}, the champion of project {project.id} ({project.title}).")
        return Choice(champion, str(project.id))
    broken = registry.broken_champions()
    warn(f"which version serves project {id} is unknown: {why}" for id, why in broken.items())
    owners = registry.promoted_in()
    if len(owners) == 1:
        champion = registry.champion(owners[0])
        only = f"the only one {'known to have' if broken else 'that has'} one"
        say(
            f"Using {champion.id}, the champion of project {owners[0]}, {only}; "
            "choose another with --model ID."
        )
        return Choice(champion, owners[0])
    chosen = registry.newest() or registry.get(registry.first)
    why = _why(registry, chosen)
    if owners:
        why += f"; projects {', '.join(owners)} have champions, which --project ID takes"
    say(f"Using {chosen.id} ({why}); choose another with --model ID.")
    return Choice(chosen, None)


def _why(registry: Registry, chosen: ModelVersion) -> str:
    trained = [version.id for version in registry.list() if version.kind == "trained"]
    if not trained:
        return "nothing was trained yet"
    if chosen.kind != "trained":
        return "each trained version was refused or rolled back"
    newest = chosen.id == trained[-1]
    return f"the newest trained version{'' if newest else ' that was not refused or rolled back'}"


def choose_cell_diameter(registry: Registry, choice: Choice, wanted: float | None) -> float | None:
    """Return the cell diameter for a version: the requested one, or the project's.

    Raises
    ------
    SizeNotAsked
        A diameter was requested, and the version would ignore it.
    """
    if wanted is not None:
        choice.version.require_finds_scale()
        return wanted
    if choice.project is None:
        return None
    return registry.policy(choice.project, choice.version).cell_diameter_px


def calibration_of(registry: Registry, choice: Choice) -> Calibration | None:
    """Return what turns a version's scores into probabilities; None if no images have set it."""
    if choice.project is None:
        return None
    policy = registry.policy(choice.project, choice.version)
    return policy.calibration if policy.is_calibrated else None
