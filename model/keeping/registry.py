"""The versions of an installation, kept as folders, and the champion of each project."""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from model.atomic import locked, new_folder, remove_folder
from model.classical.detector import CLASSICAL_ID, ClassicalDetector, classical_version
from model.errors import BrokenVersion, VersionInUse, VersionNotFound
from model.judging.policy import Policy
from model.keeping.champions import Champions, Change
from model.keeping.starter import FOLDER as STARTER_FOLDER
from model.keeping.starter import STARTER_ID, is_shipped, is_starter
from model.keeping.version_folder import (
    WEIGHTS,
    Engine,
    add_decision,
    load_version,
    read_version,
    write_version,
)
from model.looking.loaded import LoadedVersion
from model.versions import GateDecision, Kind, ModelVersion
from preprocessing.groups import ContrastGroups

VERSION_ID = re.compile(r"[a-z0-9][A-Za-z0-9_-]{0,99}")


class Registry:
    """Versions on disk, each whole or absent; readers and writers need not know of each other.

    The classical version is part of every registry and needs no folder; so is the starter, in the
    folder that is shipped with the package.

    Parameters
    ----------
    root
        Holds ``versions/<id>/{weights.safetensors, groups.npz, version.json}``, there also a
        ``model.onnx`` where the version was exported, and ``champions/<project>.json``; made when
        first written to.
    first
        The version that serves a project where none was promoted; the starter is then also what
        trainings begin with.
    """

    def __init__(self, root: Path, first: str = CLASSICAL_ID) -> None:
        self.root = root
        self.first = first if first != STARTER_ID or is_shipped() else CLASSICAL_ID
        self._champions = Champions(root / "champions", first=self.first)

    def new_id(self, kind: Kind) -> str:
        """Return an id that sorts by time, such as ``trained-20261124-161502-3fa9``."""
        return f"{kind}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"

    def add(
        self,
        version: ModelVersion,
        groups: ContrastGroups,
        weights: Path | None,
        exported: Path | None = None,
    ) -> ModelVersion:
        """Keep a version: weights, contrast groups and description, in one step.

        Parameters
        ----------
        exported
            The same weights as a file of ``model.rcnn.export.export``.

        Raises
        ------
        FileExistsError
            When a version of that id is there.
        """
        if is_given(version.id):
            raise FileExistsError(f"{version.id} is part of every registry; take a new_id()")
        write_version(self._folder(version.id), version, groups, weights, exported)
        return version

    def take_over(self, version_id: str, other: Registry) -> None:
        """Keep a version of another registry under its id; one that is here already stays.

        Raises
        ------
        VersionNotFound, BrokenVersion
            When the other registry has no such version, or cannot read it.
        """
        other.get(version_id)
        if not is_given(version_id) and not self._folder(version_id).exists():
            with new_folder(self._folder(version_id)) as folder:
                shutil.copytree(other._existing(version_id), folder, dirs_exist_ok=True)

    def get(self, version_id: str) -> ModelVersion:
        """Return a version's description.

        Raises
        ------
        VersionNotFound
            When the registry has none of that id.
        BrokenVersion
            When its ``version.json`` cannot be read.
        """
        if version_id == CLASSICAL_ID:
            return classical_version()
        return read_version(self._existing(version_id))

    def list(self, project: str | None = None) -> tuple[ModelVersion, ...]:
        """Return the readable versions, oldest first.

        With ``project`` those of use to it: its own, those of none, and all that ever served it.
        """
        served = {change.champion for change in self.history(project)} if project else set()
        kept = [version for version in self._each() if isinstance(version, ModelVersion)]
        kept.sort(key=lambda version: (version.created_at, version.id))
        return tuple(
            version
            for version in (*self._given(), *kept)
            if project is None or version.project in (None, project) or version.id in served
        )

    def weights(self, version_id: str) -> Path:
        """Return where a version's weights lie, which may be absent."""
        return self._folder(version_id) / WEIGHTS

    def broken(self) -> tuple[BrokenVersion, ...]:
        """Return what is wrong with each version that :meth:`list` left out."""
        return tuple(error for error in self._each() if isinstance(error, BrokenVersion))

    def broken_champions(self) -> dict[str, BrokenVersion]:
        """Return the projects of which it cannot be told which version serves them, and why."""
        return self._champions.broken()

    def record_decision(self, version_id: str, decision: GateDecision) -> ModelVersion:
        """Keep what the gate decided, and what it saw, with the version it decided on.

        Raises
        ------
        VersionInUse
            When the version is part of every registry.
        VersionNotFound, BrokenVersion
            As :meth:`get`.
        """
        _check_own(version_id)
        return add_decision(self._existing(version_id), decision)

    def load(self, version_id: str, device: str = "auto", engine: Engine = "auto") -> LoadedVersion:
        """Load a version, its contrast groups and its detector; only this may import torch.

        Parameters
        ----------
        engine
            ``"torch"`` and ``"onnx"`` are for comparing the two: the latter asks for the exported
            file even where there is CUDA.

        Raises
        ------
        VersionNotFound
            When the registry has none of that id.
        BrokenVersion
            When a file is missing or is not the one that was added.
        """
        if version_id == CLASSICAL_ID:
            return LoadedVersion(classical_version(), ContrastGroups.none(), ClassicalDetector())
        return load_version(self._existing(version_id), device, engine)

    def load_for(self, project: str, version: ModelVersion, device: str = "auto") -> LoadedVersion:
        """Load a version as it serves a project: with the cell diameter of the project's policy."""
        diameter = self.policy(project, version).cell_diameter_px
        return self.load(version.id, device).with_cell_diameter(diameter)

    def remove(self, version_id: str) -> int:
        """Remove a version for good and return how many bytes it took.

        Raises
        ------
        VersionInUse
            When it serves a project, or did once: it can be rolled back to; or when it is part of
            every registry.
        VersionNotFound
            When the registry has none of that id.
        """
        _check_own(version_id)
        with locked(self._removing):
            folder = self._existing(version_id)
            if version_id in self.champions():
                raise VersionInUse(f"{version_id} is or was a champion: kept for rolling back")
            size = sum(file.stat().st_size for file in folder.iterdir())
            remove_folder(folder)
        return size

    def champions(self) -> set[str]:
        """Return the ids of all versions that serve a project or ever did.

        Raises
        ------
        BrokenVersion
            It cannot be told of some project.
        """
        return _champions_in(self._champions.all())

    def champion_of(self, version_id: str) -> tuple[str, ...]:
        """Return the projects that a version serves, of those with a champion or policy chosen.

        Not those of which it cannot be told (see :meth:`broken_champions`).
        """
        return self._champions.of(version_id)

    def promoted_in(self) -> tuple[str, ...]:
        """Return the projects that a version was ever promoted in; see :meth:`champion_of`."""
        return tuple(project for project, changes in self._champions.readable().items() if changes)

    def newest(self) -> ModelVersion | None:
        """Return the newest trained version that neither the gate nor a person refused.

        A version that was promoted all the same is not refused; one that every project rolled back
        from is. Projects of which that cannot be told (see :meth:`broken_champions`) have no say.
        """
        served = self._champions.served()
        away = _champions_in(self._champions.readable()) - served
        taken = [
            version
            for version in self.list()
            if version.kind == "trained"
            and version.id not in away
            and (version.id in served or version.decision is None or version.decision.promoted)
        ]
        return taken[-1] if taken else None

    def champion(self, project: str) -> ModelVersion:
        """Return the version that serves a project: the first one if none was promoted.

        Raises
        ------
        BrokenVersion
            It cannot be read, or is not there any more.
        """
        id = self.champion_id(project)
        try:
            return self.get(id)
        except VersionNotFound as error:
            raise BrokenVersion(
                f"{id}, the champion of project {project}, is not in the registry any more. "
                "Restore its folder from a backup, or choose another: `cytoloop models rollback`"
            ) from error

    def champion_id(self, project: str) -> str:
        """Return the id of :meth:`champion`, also where that version cannot be read."""
        return self._champions.current(project)

    def policy(self, project: str, version: ModelVersion) -> Policy:
        """Return what is made of a version's boxes in a project: its own, where none was chosen.

        How large the cells are the project told its starter: that of a later release knows it too.
        """
        return _policy(self._champions.policies(project), version)

    def set_policy(
        self, project: str, version: ModelVersion, change: Callable[[Policy], Policy]
    ) -> bool:
        """Choose what is made of a version's boxes in a project.

        Parameters
        ----------
        change
            Told the policy of this moment, which nobody else changes before its answer is kept.

        Returns
        -------
        Whether it is another than before.
        """

        def choose(chosen: Mapping[str, Policy]) -> Policy | None:
            before = _policy(chosen, version)
            policy = change(before)
            return None if policy == before else policy

        return self._champions.set_policy(project, version.id, choose)

    def served_name(self, project: str) -> str:
        """Return the name of a project's champion with its policy."""
        champion = self.champion(project)
        return self.policy(project, champion).served_name(champion)

    def champion_stamp(self, project: str) -> tuple[int, ...]:
        """Return what differs after each change of champion or of a policy.

        Cheap enough for every request.
        """
        return self._champions.stamp(project)

    def promote(self, project: str, version_id: str, instead_of: str | None = None) -> ModelVersion:
        """Make a version the champion of a project, in one step.

        Parameters
        ----------
        instead_of
            Id of the champion that it was found to be better than; None: whichever serves.

        Raises
        ------
        ChampionChanged
            When another champion serves by now; it stays.
        VersionNotFound, BrokenVersion
            As :meth:`get`.
        """
        with locked(self._removing):
            version = self.get(version_id)
            self._champions.promote(project, version_id, instead_of)
        return version

    def rollback(self, project: str) -> ModelVersion:
        """Return to the champion before and return it.

        Raises
        ------
        NothingToRollBack
            When there is none before.
        VersionNotFound, BrokenVersion
            As :meth:`get`; the champion stays.
        """
        return self.get(self._champions.rollback(project, self.get))

    def history(self, project: str) -> tuple[Change, ...]:
        """Return every change of champion, oldest first."""
        return self._champions.history(project)

    def champion_at(self, project: str, moment: datetime) -> str:
        """Return the id of the version that served a project at a moment.

        Empty before its first change of champion.
        """
        served = ""
        for change in self.history(project):
            if datetime.fromisoformat(change.at) <= moment:
                served = change.champion
        return served

    def _given(self) -> Iterator[ModelVersion]:
        yield classical_version()
        if is_shipped():
            yield self.get(STARTER_ID)

    @property
    def _removing(self) -> Path:
        """The lock of whoever removes a version, or makes one stay."""
        return self.root / "removing.lock"

    def _folder(self, version_id: str) -> Path:
        # A project that went back to an earlier release's starter gets the one of today.
        if is_starter(version_id):
            return STARTER_FOLDER
        # Ids come from the command line and the network: one must never lead out of the registry.
        if not VERSION_ID.fullmatch(version_id):
            raise VersionNotFound(f"{version_id!r} is no version id; see `cytoloop models list`")
        return self.root / "versions" / version_id

    def _existing(self, version_id: str) -> Path:
        folder = self._folder(version_id)
        if not folder.is_dir():
            raise VersionNotFound(f"no version {version_id}; see `cytoloop models list`")
        return folder

    def _each(self) -> Iterator[ModelVersion | BrokenVersion]:
        versions = self.root / "versions"
        for folder in sorted(versions.iterdir()) if versions.is_dir() else ():
            if not VERSION_ID.fullmatch(folder.name):
                continue  # what a crashed write left
            try:
                yield self.get(folder.name)
            except VersionNotFound:
                continue  # removed meanwhile, or no folder
            except BrokenVersion as error:
                if folder.is_dir():
                    yield error


def is_given(version_id: str) -> bool:
    """Say whether every registry has this version: it is not its own to change."""
    return version_id == CLASSICAL_ID or is_starter(version_id)


def _champions_in(histories: Mapping[str, Sequence[Change]]) -> set[str]:
    return {change.champion for changes in histories.values() for change in changes}


def _policy(chosen: Mapping[str, Policy], version: ModelVersion) -> Policy:
    if version.id in chosen or not is_starter(version.id):
        return chosen.get(version.id) or Policy.of(version)
    told = [policy.cell_diameter_px for id, policy in chosen.items() if is_starter(id)]
    return replace(Policy.of(version), cell_diameter_px=told[-1] if told else None)


def _check_own(version_id: str) -> None:
    if is_given(version_id):
        raise VersionInUse(f"{version_id} is part of every registry and stays as it is")
