"""Following one project of Label Studio's from look to look."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field, replace
from datetime import datetime

from backend.errors import LabelStudioMissing
from backend.learning.backoff import Backoff
from backend.learning.lacking import LackingImages
from backend.learning.problems import Problems
from backend.learning.reconcile import Reconciled, follow, reconcile, reconcile_changes
from backend.learning.triggers import after_correction, push_champion
from backend.services import Services
from backend.store.projects import Project

#: How a project of Label Studio's says that the lowest score of a prediction comes first.
BY_SCORE = "Uncertainty sampling"


@dataclass(frozen=True)
class Seen:
    """How a project stood at the last look: cheap to ask for, and different after every change.

    Parameters
    ----------
    newest
        When one of its tasks last changed; a task changes with its annotations and predictions.
    tasks, annotations
        How many it has.
    stored
        How many of them the store has: a late event may bring an annotation that was deleted
        before it was ever seen, and then nothing changes in Label Studio.
    late
        How many events told of an annotation as it was before: where the clock of Label Studio's
        machine was set back this is its present state, dated before the newest change.
    by_score
        Whether its tasks come in the order of their predictions' scores.
    """

    newest: datetime | None
    tasks: int
    annotations: int
    stored: int
    late: int
    by_score: bool

    def may_be_followed_by(self, now: Seen) -> bool:
        """Say whether what is new may be in the tasks alone that changed since."""
        grown = self.newest and now.newest and now.newest >= self.newest and now.tasks >= self.tasks
        return bool(grown) and (now.late, now.by_score) == (self.late, self.by_score)


@dataclass
class _Pushes:
    """What was queued for the open tasks that lack the boxes of what serves.

    Parameters
    ----------
    served_name
        Name of that version and policy.
    again
        When the next push may be queued.
    tried
        What each of these tasks showed for which one was queued.
    """

    served_name: str
    again: Backoff
    tried: dict[int, Set[str]] = field(default_factory=dict)


class FollowedProject:
    """A project that the store is to have as Label Studio has it.

    A look costs two small requests while nothing changes. At the first look, and where tasks or
    annotations are fewer than they should be, those made since counted in, the newest change is
    older than it was (Label Studio was put back from a copy), an event was older than what is known
    (its clock was set back), tasks come in another order or a task had no answer that can be used,
    all tasks are gone through; else those that changed.
    """

    def __init__(self, services: Services, problems: Problems, id: int) -> None:
        self._services = services
        self._problems = problems
        self._id = id
        self._seen: Seen | None = None
        #: What Label Studio says of tasks instead of an answer, and when all are asked for again.
        self._unanswered = ""
        self._asked = Backoff()
        self._images = LackingImages(services, id)
        #: Where tasks come by score, what served the boxes of the open ones, as last seen.
        self._shown: dict[int, Set[str]] = {}
        self._pushes = _Pushes("", Backoff())
        self._missing = Backoff()

    @property
    def is_due(self) -> bool:
        """Whether it is to be looked for again where Label Studio did not have it."""
        return self._missing.is_due

    @property
    def left(self) -> str:
        """What of it is to be tried again, in words."""
        return "; ".join(filter(None, (self._unanswered, self._images.problem)))

    def look(self, project: Project) -> None:
        """Bring the store up to date, open a run that is due, and queue boxes that tasks lack.

        Raises
        ------
        LabelStudioMissing
            Label Studio does not have it: it is looked for ever more rarely.
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
            self._note_shown(now.by_score, done)
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
        """Bring it up to date with the tasks that changed; None where others may differ too."""
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
        """Go through all tasks, and note those that are to be asked for again."""
        done = reconcile(self._services, self._id)
        self._shown = {}  # of all tasks it is seen anew
        self._unanswered = "; ".join(done.unanswered)
        if done.unanswered:
            self._asked.postpone()
        else:
            self._asked = Backoff()
        return done

    @property
    def _asks_again(self) -> bool:
        """Whether tasks that had no answer are to be asked for again, with all others."""
        return bool(self._unanswered) and self._asked.is_due

    def _note_shown(self, by_score: bool, done: Reconciled) -> None:
        """Keep what the open tasks show that were looked at, where a push is to go by that."""
        others = {id: names for id, names in self._shown.items() if id not in done.tasks}
        self._shown = others | dict(done.shown) if by_score else {}

    def _push(self, by_score: bool) -> None:
        """Queue the champion's boxes for the open tasks where a push was lost or failed.

        Where their scores say which comes first, the very first version's too, and also where tasks
        came since the last push. One that gets no boxes, as its image is none, is no reason for a
        push again until it changes.
        """
        pushes = self._pushes_of(self._services.registry.served_name(str(self._id)))
        if not pushes.again.is_due:
            return
        lacking = {
            id: names
            for id, names in self._shown.items()
            if pushes.served_name not in names and pushes.tried.get(id) != names
        }
        # Whatever a push that is worked on says in the end: these tasks may not be on its list.
        if lacking:
            self._services.projects.set_pushed(self._id, None)
        if push_champion(self._services, self._id, even_first=by_score):
            pushes.again.postpone()
            pushes.tried.update(lacking)

    def _pushes_of(self, served_name: str) -> _Pushes:
        """Return what was queued for it; what was for another version or policy is forgotten."""
        if served_name != self._pushes.served_name:
            self._pushes = _Pushes(served_name, Backoff())
        return self._pushes
