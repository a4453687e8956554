"""Which project and which version a command means when the person named none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backend.cli.console import say
from backend.errors import BadRequest

if TYPE_CHECKING:  # these import SQLAlchemy and numpy, too slow for --help
    from backend.store.projects import Project, Projects
    from model.registry import Registry
    from model.versions import ModelVersion


def choose_project(projects: Projects, wanted: int | None) -> Project:
    """Return the project of that id, or the only one there is.

    Raises
    ------
    NotFound
        There is no project of that id.
    BadRequest
        None was named, and there is not exactly one.
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


def choose_version(registry: Registry, wanted: str | None, project: Project | None) -> str:
    """Return the id of the version asked for, or of the one that stands nearest.

    That is the project's champion, else the newest trained version, else the registry's first. What
    is chosen without being named is said aloud.
    """
    if wanted:
        return registry.get(wanted).id
    if project is not None:
        champion = registry.champion(str(project.id)).id
        say(f"Using {champion}, the champion of project {project.id} ({project.title}).")
        return champion
    versions = registry.list()
    trained = [version.id for version in versions if version.kind == "trained"]
    chosen = trained[-1] if trained else registry.first
    why = "the newest trained version" if trained else "nothing was trained yet"
    say(f"Using {chosen} ({why}); choose another with --model ID.")
    return chosen


def choose_cell_diameter(
    registry: Registry, version: ModelVersion, wanted: float | None, project: Project | None
) -> float | None:
    """Return what a version is told of the cells' size: what was asked for, else the project's.

    Raises
    ------
    SizeNotAsked
        One was asked for, and the version would not heed it.
    """
    if wanted is not None:
        version.require_finds_scale()
        return wanted
    return registry.policy(str(project.id), version).cell_diameter_px if project else None


def parse_mapping(pairs: list[str]) -> dict[str, str]:
    """Read ``N=Nucleus`` pairs.

    Raises
    ------
    BadRequest
        A pair has not the form OLD=NEW.
    """
    mapping = {}
    for pair in pairs:
        old, _, new = (part.strip() for part in pair.partition("="))
        if not old or not new:
            raise BadRequest(f"--map wants OLD=NEW, such as N=Nucleus, not {pair!r}.")
        mapping[old] = new
    return mapping
