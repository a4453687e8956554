"""The Label Studio projects that Cytoloop learns for, and the choices made for each."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from sqlalchemy import Engine, Row, func, select, update

from backend.errors import BadRequest
from backend.labelstudio.interface import LabellingInterface
from backend.settings import Settings, require_milestones
from backend.store.annotations import counting
from backend.store.database import unknown_project, upsert
from backend.store.tables import annotations, projects
from model.judging.strata import ContrastStrata

_UNCHANGED: Any = object()


@dataclass(frozen=True)
class Project:
    """One project.

    Parameters
    ----------
    id
        Label Studio's.
    classes
        Those of the label_config, in its order.
    find_default_class
        Finds the value of ``default_class``.
    milestones
        Numbers of corrected images at which a run starts.
    gone
        It was deleted in Label Studio; what was learned from it stays.
    pushed
        Name of the version and policy whose predictions were last given to all its open tasks; None
        if that never happened, or if some tasks lost them.
    strata
        Limits of contrast by which versions are judged; None until there are enough images.
    blind
        Whether held-out tasks open without boxes.
    least_work
        Whether the shown boxes are chosen for the least work; otherwise those that count are shown.
    late_events
        How many events described an annotation as older than known.
    tasks
        How many tasks Label Studio had when last asked; None before.
    """

    id: int
    title: str
    label_config: str
    classes: tuple[str, ...]
    find_default_class: Callable[[], str] = field(repr=False, compare=False)
    milestones: tuple[int, ...]
    gone: bool = False
    pushed: str | None = None
    strata: ContrastStrata | None = None
    blind: bool = False
    least_work: bool = True
    late_events: int = 0
    tasks: int | None = None

    @cached_property
    def default_class(self) -> str:
        """The class for boxes of a version that knows no classes.

        It is the chosen one, or the most frequently corrected one, or the first. With several
        classes this goes through all corrections, so it is found when first asked for.
        """
        return self.find_default_class()


class Projects:
    """The projects in the store.

    Parameters
    ----------
    settings
        Defaults for a project without choices of its own.
    """

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._settings = settings

    def ensure(self, id: int, title: str, label_config: str) -> Project:
        """Keep a project as Label Studio has it now; an empty title keeps the known one.

        Raises
        ------
        BadLabelConfig
            Its label_config draws no boxes; nothing is kept.
        """
        LabellingInterface.parse(label_config)
        known = self._found(id)
        if known and known.label_config == label_config and title in ("", known.title):
            return self._project(known)
        now = {"label_config": label_config} | ({"title": title} if title else {})
        with self._engine.begin() as connection:
            insert = upsert(connection, projects).values({"id": id, "title": f"Project {id}"} | now)
            connection.execute(insert.on_conflict_do_update(index_elements=["id"], set_=now))
        return self.get(id)

    def get(self, id: int) -> Project:
        """Return a project.

        Raises
        ------
        NotFound
            Label Studio never named the project to us.
        """
        if row := self._found(id):
            return self._project(row)
        raise unknown_project(id)

    def _found(self, id: int) -> Row[Any] | None:
        with self._engine.connect() as connection:
            return connection.execute(select(projects).where(projects.c.id == id)).one_or_none()

    def all(self, gone: bool = False) -> list[Project]:
        """Return the projects in order of id; with ``gone`` also those deleted in Label Studio."""
        query = select(projects).order_by(projects.c.id)
        with self._engine.connect() as connection:
            rows = connection.execute(query if gone else query.where(~projects.c.gone)).all()
        return [self._project(row) for row in rows]

    def set_gone(self, id: int, gone: bool) -> None:
        """Keep whether a project is gone from Label Studio."""
        self._set(id, gone=gone)

    def set_tasks(self, id: int, tasks: int) -> None:
        """Keep how many tasks a project has in Label Studio."""
        self._set(id, tasks=tasks)

    def set_pushed(self, id: int, served_name: str | None) -> None:
        """Keep whose predictions all open tasks of a project have; None if nobody's."""
        self._set(id, pushed=served_name)

    def set_strata(self, id: int, strata: ContrastStrata) -> ContrastStrata:
        """Set a project's strata for ever, and return those kept: the first ever set."""
        unset = (projects.c.id == id, projects.c.strata.is_(None))
        values = {"strata": list(strata.limits)}
        with self._engine.begin() as connection:
            connection.execute(update(projects).where(*unset).values(values))
        return self.get(id).strata or strata

    def change(
        self,
        id: int,
        *,
        milestones: Sequence[int] | None = _UNCHANGED,
        default_class: str | None = _UNCHANGED,
        blind: bool = _UNCHANGED,
        least_work: bool = _UNCHANGED,
    ) -> Project:
        """Choose something for one project; None returns to the settings' default.

        Raises
        ------
        BadRequest
            A milestone is not above the one before, or the project has no such class.
        NotFound
            The project is not known.
        """
        chosen: dict[str, Any] = {}
        if milestones is not _UNCHANGED:
            chosen["milestones"] = _that_can_be_judged(milestones)
        if default_class is not _UNCHANGED:
            chosen["default_class"] = _one_of(default_class, self.get(id).classes)
        if blind is not _UNCHANGED:
            chosen["blind"] = blind
        if least_work is not _UNCHANGED:
            chosen["least_work"] = least_work
        if chosen:
            self._set(id, **chosen)
        return self.get(id)

    def _set(self, id: int, **values: Any) -> None:
        with self._engine.begin() as connection:
            connection.execute(update(projects).where(projects.c.id == id).values(values))

    def _project(self, row: Row[Any]) -> Project:
        classes = LabellingInterface.parse(row.label_config).classes
        return Project(
            id=row.id,
            title=row.title,
            label_config=row.label_config,
            classes=classes,
            find_default_class=partial(self._default_class, row, classes),
            milestones=tuple(row.milestones or self._settings.milestones),
            gone=row.gone,
            pushed=row.pushed,
            strata=None if row.strata is None else ContrastStrata(tuple(row.strata)),
            blind=row.blind,
            least_work=row.least_work,
            late_events=row.late_events,
            tasks=row.tasks,
        )

    def _default_class(self, row: Row[Any], classes: tuple[str, ...]) -> str:
        for chosen in (row.default_class, self._settings.default_class):
            if chosen in classes:
                return str(chosen)
        if len(classes) == 1:
            return classes[0]
        corrected = self._corrected_labels(row.id)
        # Of equal counts the first in the config wins.
        return max(classes, key=lambda name: corrected[name])

    def _corrected_labels(self, project: int) -> Counter[str]:
        query = select(annotations.c.labels).where(counting(project))
        total: Counter[str] = Counter()
        with self._engine.connect() as connection:
            for labels in connection.scalars(query):
                total.update(labels)
        return total

    def __len__(self) -> int:
        with self._engine.connect() as connection:
            return connection.scalar(select(func.count()).select_from(projects)) or 0


def _that_can_be_judged(milestones: Sequence[int] | None) -> list[int] | None:
    try:
        return list(require_milestones(milestones)) if milestones else None
    except ValueError as error:
        raise BadRequest(f"These milestones cannot be used: {error}.") from error


def _one_of(name: str | None, classes: tuple[str, ...]) -> str | None:
    if name and name not in classes:
        raise BadRequest(f"The project has no class {name}; it has {', '.join(classes)}.")
    return name or None
