"""Which version serves a project, and how: one pointer file each, replaced in one step."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from model.atomic import locked, write_json
from model.errors import BrokenVersion, ChampionChanged, NothingToRollBack
from model.judging.policy import Policy

PROJECT_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True)
class Change:
    """One change of champion.

    Parameters
    ----------
    champion
        Id of the version that serves from then on.
    at
        ISO 8601, UTC.
    """

    champion: str
    action: Literal["promoted", "rolled back"]
    at: str


@dataclass(frozen=True)
class _Pointer:
    """What a project's file says: every change of champion, and each version's policy, by id."""

    history: tuple[Change, ...] = ()
    policies: dict[str, Policy] = field(default_factory=dict)

    def to_json(self, first: str) -> dict[str, Any]:
        return {
            "champion": self.history[-1].champion if self.history else first,
            "history": [asdict(change) for change in self.history],
            "policies": {id: policy.to_json() for id, policy in self.policies.items()},
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> _Pointer:
        return cls(
            tuple(Change(**change) for change in values["history"]),
            {id: Policy.from_json(kept) for id, kept in values["policies"].items()},
        )


class Champions:
    """The champion pointers of a registry, one file per project.

    Parameters
    ----------
    folder
        Made when first written to.
    first
        Id of the version that serves where nothing was promoted.
    """

    def __init__(self, folder: Path, first: str) -> None:
        self.folder = folder
        self.first = first

    def current(self, project: str) -> str:
        return _served(self.history(project), self.first)[-1]

    def history(self, project: str) -> tuple[Change, ...]:
        """Return every change of champion, oldest first.

        Raises
        ------
        BrokenVersion
            When the pointer file is not what this class writes.
        """
        return self._read(project).history

    def policies(self, project: str) -> dict[str, Policy]:
        """Return the policies that were chosen in a project, by the ids of their versions.

        Raises
        ------
        BrokenVersion
            As :meth:`history`.
        """
        return self._read(project).policies

    def all(self) -> dict[str, tuple[Change, ...]]:
        """Return the history of each project; see :meth:`history`."""
        return {project: self.history(project) for project in self._projects()}

    def readable(self) -> dict[str, tuple[Change, ...]]:
        """Return the history of each project that has a readable pointer file."""
        each = self._each().items()
        return {project: told for project, told in each if not isinstance(told, BrokenVersion)}

    def broken(self) -> dict[str, BrokenVersion]:
        """Return what is wrong with the pointer file of each other project."""
        each = self._each().items()
        return {project: told for project, told in each if isinstance(told, BrokenVersion)}

    def of(self, champion: str) -> tuple[str, ...]:
        """Return the projects that a version serves, of the :meth:`readable` ones."""
        histories = self.readable().items()
        return tuple(p for p, history in histories if _served(history, self.first)[-1] == champion)

    def served(self) -> set[str]:
        """Return the ids that serve one of these or can be rolled back to in it."""
        return {id for history in self.readable().values() for id in _served(history, self.first)}

    def stamp(self, project: str) -> tuple[int, ...]:
        """Return what differs after each change of champion or policy; one `stat`, no reading."""
        try:
            found = self._path(project).stat()
        except FileNotFoundError:
            return ()
        return found.st_mtime_ns, found.st_ino, found.st_size

    def set_policy(
        self,
        project: str,
        version: str,
        choose: Callable[[Mapping[str, Policy]], Policy | None],
    ) -> bool:
        """Choose a version's policy in a project, whether it serves or is about to.

        Parameters
        ----------
        choose
            Told the policies of this moment, by the ids of their versions; nobody else changes them
            before its answer is kept. None: nothing changes.

        Returns
        -------
        Whether anything changed.
        """
        with self._locked(project):
            pointer = self._read(project)
            policy = choose(pointer.policies)
            if policy is not None:
                policies = pointer.policies | {version: policy}
                self._write(project, replace(pointer, policies=policies))
        return policy is not None

    def promote(self, project: str, champion: str, instead_of: str | None = None) -> None:
        """Make a version the champion; nothing changes when it is already.

        Parameters
        ----------
        instead_of
            The champion whose place it takes; None: whichever serves.

        Raises
        ------
        ChampionChanged
            When another one serves.
        """

        def to_champion(served: Sequence[str]) -> str | None:
            if served[-1] == champion:
                return None
            if instead_of not in (None, served[-1]):
                raise ChampionChanged(
                    f"{served[-1]} serves project {project} by now, not {instead_of}"
                )
            return champion

        self._change(project, "promoted", to_champion)

    def rollback(self, project: str, check: Callable[[str], object]) -> str:
        """Return to the champion before; twice returns to the one before that.

        Parameters
        ----------
        check
            Told its id; where it raises, the champion stays.

        Raises
        ------
        NothingToRollBack
            When no version was ever promoted, or all were rolled back.
        """

        def to_the_one_before(served: Sequence[str]) -> str:
            if len(served) < 2:
                raise NothingToRollBack(
                    f"project {project} has had no champion before {served[-1]}; "
                    f"choose one with `cytoloop models promote`"
                )
            check(served[-2])
            return served[-2]

        return self._change(project, "rolled back", to_the_one_before)

    def _projects(self) -> list[str]:
        """Return the projects that have a pointer file, in order."""
        stems = sorted(path.stem for path in self.folder.glob("*.json"))
        # A copy that somebody made ("7 copy.json") is of no project.
        return [stem for stem in stems if PROJECT_NAME.fullmatch(stem)]

    def _each(self) -> dict[str, tuple[Change, ...] | BrokenVersion]:
        """Return the history of each of them, or why that cannot be told."""
        found: dict[str, tuple[Change, ...] | BrokenVersion] = {}
        for project in self._projects():
            try:
                found[project] = self.history(project)
            except BrokenVersion as error:
                found[project] = error
        return found

    def _change(
        self,
        project: str,
        action: Literal["promoted", "rolled back"],
        choose: Callable[[Sequence[str]], str | None],
    ) -> str:
        """Return the id of what serves from then on; None from ``choose`` leaves what does."""
        with self._locked(project):
            pointer = self._read(project)
            served = _served(pointer.history, self.first)
            chosen = choose(served)
            if chosen is None:
                return served[-1]
            now = datetime.now(UTC).isoformat(timespec="seconds")
            history = (*pointer.history, Change(chosen, action, now))
            self._write(project, replace(pointer, history=history))
        return chosen

    def _read(self, project: str) -> _Pointer:
        path = self._path(project)
        try:
            return _Pointer.from_json(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return _Pointer()
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise BrokenVersion(
                f"{path} cannot be read ({error}). If a newer Cytoloop wrote it, install that "
                "one again; else move it away, then choose a champion: `cytoloop models promote`"
            ) from error

    def _write(self, project: str, pointer: _Pointer) -> None:
        write_json(self._path(project), pointer.to_json(self.first))

    def _locked(self, project: str) -> AbstractContextManager[None]:
        # Readers need no lock; two writers (worker, command line) must not lose a change.
        return locked(self._path(project).with_suffix(".lock"))

    def _path(self, project: str) -> Path:
        if not PROJECT_NAME.fullmatch(project):
            raise ValueError(f"{project!r} is no project: letters, digits, - and _ alone")
        return self.folder / f"{project}.json"


def _served(history: Sequence[Change], first: str) -> list[str]:
    """Return the champions that can be rolled back to, the present one last."""
    served = [first]
    for change in history:
        if change.action == "promoted":
            served.append(change.champion)
        else:
            # What was returned to: the first version may have been another one then.
            served[-2:] = [change.champion]
    return served
