"""Which versions nobody needs any more: a pure choice; ``Registry.remove`` carries it out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from model.versions import ModelVersion


def superfluous(
    versions: Sequence[ModelVersion],
    champions: Iterable[str],
    newest: int,
    needed: Collection[str] = (),
) -> list[ModelVersion]:
    """Return the trained versions that may go, oldest first.

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

    Returns
    -------
    None that a version that stays was trained from.
    """
    trained = [version for version in versions if version.kind == "trained"]
    kept = {*champions, *needed}
    for project in {version.project for version in trained}:
        own = [version.id for version in trained if version.project == project]
        kept |= set(own[max(0, len(own) - newest) :])
    staying = _with_parents(kept, {version.id: version.parent for version in versions})
    return [version for version in trained if version.id not in staying]


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
