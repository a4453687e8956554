"""Follows one Label Studio project from look to look."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field, replace
from datetime import datetime

from backend.errors import LabelStudioMissing
from backend.learning.backoff import Backoff
from backend.learning.lacking import LackingImages
from backend.learning.problems import Problems
from backend.learning.reconcile import Reconciled, follow, reconcile, reconcile_changes
from backend.learning.triggers import after_correction, is_pushed, push_champion
from backend.services import Services
from backend.store.projects import Project

#: A Label Studio project's sampling that puts the lowest prediction score first.
BY_SCORE = "Uncertainty sampling"


@dataclass(frozen=True)
class Seen:
    """How a project stood at the last look: cheap to ask for, and different after every change.

    Parameters
    ----------
    newest
        When one of its tasks last changed; a task changes with its annotations and predictions.
    tasks, annotations
        The numbers of its tasks and annotations.
    stored
        The number of its annotations in the store. It shows an annotation that a late event brings
        after Label Studio deleted it unseen: then nothing changes in Label Studio.
    late
        The number of events that described an annotation as older than known. If the clock of Label
        Studio's machine was set back, this is its present state, dated before the newest change.
    by_score
        Whether its tasks come in order of their predictions' scores.
    """

    newest: datetime | None
    tasks: int
    annotations: int
    stored: int
    late: int
    by_score: bool

    def may_be_followed_by(self, now: Seen) -> bool:
        """Tell whether everything new may be in the tasks that changed since."""
        grown = self.newest and now.newest and now.newest >= self.newest and now.tasks >= self.tasks
        return bool(grown) and (now.late, now.by_score) == (self.late, self.by_score)


@dataclass
class _Pushes:
    """What was queued for the open tasks that lack the boxes of the serving version and policy.

    Parameters
    ----------
    served_name
        Name of that version and policy.
    again
        When the next push may be queued.
    tried
        By task, the boxes shown when a push was queued for it.
    """

    served_name: str
    again: Backoff
    tried: dict[int, Set[str]] = field(default_factory=dict)


class FollowedProject:
    """Keeps the store's copy of a project as Label Studio has it.

    A look costs two small requests while nothing changes. After a change it goes through the tasks
    that changed. It goes through all tasks:

    - at the first look;
    - if there are other numbers of tasks or annotations than those known plus those made since;
    - if the newest change is older than before (Label Studio was restored from a copy);
    - if an event was older than what is known (the clock was set back);
    - if tasks come in another order, or Label Studio gave no usable answer for a task.
    """

    def __init__(self, services: Services, problems: Problems, id: int) -> None:
        self._services = services
        self._problems = problems
        self._id = id
        self._seen: Seen | None = None
        #: What Label Studio said instead of an answer for tasks, and when to ask for all again.
        self._unanswered = ""
        self._asked = Backoff()
        self._images = LackingImages(services, id)
        #: What served the boxes of each open task, as last seen.
        self._shown: dict[int, Set[str]] = {}
        self._pushes = _Pushes("", Backoff())
        self._missing = Backoff()

    @property
    def is_due(self) -> bool:
        """Whether to look again for a project that Label Studio did not have."""
        return self._missing.is_due

    @property
    def left(self) -> str:
        """What is still to be tried again, in words."""
        return "; ".join(filter(None, (self._unanswered, self._images.problem)))

    def look(self, project: Project) -> None:
        """Bring the store up to date, open a run that is due, and queue boxes that tasks lack.

        Raises
        ------
        LabelStudioMissing
            Label Studio does not have the project; it is looked for ever more rarely.
        LabelStudioError
            Label Studio cannot be reached, or does not answer as it should.
        QueueError
            Redis cannot be reached.
        """
        try:
            self._bring_up_to_date(project)
        except LabelStudioMissing:
            self._missing.postpone()
            raise
        self._missing = Backoff()

    def _bring_up_to_date(self, project: Project) -> None:
        now, away = self._stands(project), dict[int, str]()
        if now != self._seen or self._asks_again:
            done = self._reconcile(now)
            self._seen = replace(now, stored=done.kept)
            self._note_shown(done)
            away = dict(done.without_image)
        self._images.fetch(away)
        self._problems.note_images(self._id, self._images.problem)
        after_correction(self._services, self._id)
        self._push(now.by_score)

    def _stands(self, project: Project) -> Seen:
        known, problem = follow(self._services, self._id)
        self._problems.note_label_config(self._id, problem)
        annotations = known["total_annotations_number"] + known["skipped_annotations_number"]
        newest = self._services.label_studio.newest_change(self._id)
        by_score = known.get("sampling") == BY_SCORE
        numbers = known["task_number"], annotations, self._stored(), project.late_events
        return Seen(newest, *numbers, by_score)

    def _stored(self) -> int:
        return self._services.annotations.number(self._id)

    def _reconcile(self, now: Seen) -> Reconciled:
        """Bring the store up to date."""
        return self._reconcile_changes(now) or self._reconcile_all()

    def _reconcile_changes(self, now: Seen) -> Reconciled | None:
        """Bring the store up to date with the tasks that changed; None if others may differ too."""
        before = self._seen
        if not before or not before.newest or self._asks_again:
            return None
        if not before.may_be_followed_by(now):
            return None
        changes = reconcile_changes(self._services, self._id, before.newest)
        made = sum(moment > before.newest for moment in changes.made)
        numbers = before.tasks + made, self._stored()
        if changes.unanswered or (now.tasks, now.annotations) != numbers:
            return None
        return replace(changes, kept=now.annotations)

    def _reconcile_all(self) -> Reconciled:
        """Go through all tasks, and note those to ask for again."""
        done = reconcile(self._services, self._id)
        self._shown = {}  # all tasks are seen anew
        self._unanswered = "; ".join(done.unanswered)
        if done.unanswered:
            self._asked.postpone()
        else:
            self._asked = Backoff()
        return done

    @property
    def _asks_again(self) -> bool:
        """Whether it is time to ask again for tasks without an answer, and for all others."""
        return bool(self._unanswered) and self._asked.is_due

    def _note_shown(self, done: Reconciled) -> None:
        """Keep what the open tasks of a look show."""
        others = {id: names for id, names in self._shown.items() if id not in done.tasks}
        self._shown = others | dict(done.shown)

    def _push(self, by_score: bool) -> None:
        """Queue the champion's boxes for the open tasks if a push was lost or failed.

        Push again for tasks that came since the last push: from the first push on Label Studio asks
        for no boxes when it shows one task after another. If scores order the tasks, also push the
        very first version's boxes. A task that gets no boxes, because its image is none, causes no
        further push until it changes.
        """
        if not is_pushed(self._services, self._id, even_first=by_score):
            return
        pushes = self._pushes_of(self._services.registry.served_name(str(self._id)))
        if not pushes.again.is_due:
            return
        lacking = {
            id: names
            for id, names in self._shown.items()
            if (by_score or not names)
            and pushes.served_name not in names
            and pushes.tried.get(id) != names
        }
        # A push at work may report success in the end, but these tasks may not be on its list.
        if lacking:
            self._services.projects.set_pushed(self._id, None)
        if push_champion(self._services, self._id, even_first=by_score):
            pushes.again.postpone()
            pushes.tried.update(lacking)

    def _pushes_of(self, served_name: str) -> _Pushes:
        """Return what was queued for a name; forget what was for another version or policy."""
        if served_name != self._pushes.served_name:
            self._pushes = _Pushes(served_name, Backoff())
        return self._pushes
