"""Which versions nobody needs any more: a pure choice; ``Registry.remove`` carries it out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from model.versions import ModelVersion


def superfluous(
    versions: Sequence[ModelVersion],
    champions: Collection[str],
    newest: int,
    needed: Collection[str] = (),
) -> list[ModelVersion]:
    """Return the versions trained for projects that nobody needs, oldest first.

    None that a person trained for no project: whether that is of use only they know.

    Parameters
    ----------
    versions
        All there are, oldest first.
    champions
        Ids of all that serve or ever served a project: it can be rolled back to them.
    newest
        How many of each project's trained versions stay in any case.
    needed
        Ids of others that stay, such as of a run that is not done.
    """
    of_projects = [version for version in versions if version.project is not None]
    chosen: list[str] = []
    for project in {version.project for version in of_projects}:
        own = [version.id for version in of_projects if version.project == project]
        chosen += own[: max(0, len(own) - newest)]
    return removable(versions, chosen, {*champions, *needed})


def removable(
    versions: Sequence[ModelVersion], chosen: Collection[str], needed: Collection[str]
) -> list[ModelVersion]:
    """Return those of the chosen versions that may go, oldest first.

    Parameters
    ----------
    versions
        All there are, oldest first.
    chosen, needed
        Ids of those that are to go, and of those that stay, chosen or not.

    Returns
    -------
    Trained ones; none that a version that stays was trained from.
    """
    staying = {*needed, *(version.id for version in versions if version.id not in chosen)}
    staying = _with_parents(staying, {version.id: version.parent for version in versions})
    return [each for each in versions if each.kind == "trained" and each.id not in staying]


def _with_parents(ids: Iterable[str], parents: dict[str, str | None]) -> set[str]:
    found: set[str] = set()
    waiting = list(ids)
    while waiting:
        id = waiting.pop()
        if id not in found:
            found.add(id)
            if parent := parents.get(id):
                waiting.append(parent)
    return found
