"""Looking at Label Studio every half minute: events are hints, and any of them may be lost."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Set
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

import structlog

from backend.errors import BackendError, LabelStudioMissing, LabelStudioSilent
from backend.learning.backoff import Backoff
from backend.learning.lacking import LackingImages
from backend.learning.reconcile import (
    Reconciled,
    follow,
    name_annotators,
    reconcile,
    reconcile_changes,
)
from backend.learning.triggers import after_correction, push_champion, take_up_lost
from backend.services import Services
from backend.store import mending
from backend.store.projects import Project
from model.errors import ModelError

log = structlog.get_logger(__name__)

#: How soon a Label Studio that is away, such as while it starts, or a database is looked for again.
AWAY_S = 5.0
#: How long a web process that is told to end waits for a look: less than it is given itself.
LAST_LOOK_S = 2.0
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


class Poll:
    """Keeps the store as Label Studio has it, and the queue as the store has it.

    A look costs two small requests a project while nothing changes. At the first look, and where
    tasks or annotations are fewer than they should be, those made since counted in, the newest
    change is older than it was (Label Studio was put back from a copy), an event was older than
    what is known (its clock was set back), tasks come in another order or a task had no answer that
    can be used, all tasks are gone through; else those that changed.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._seen: dict[int, Seen] = {}
        #: Of each project what Label Studio says of tasks instead of an answer.
        self._unanswered: dict[int, str] = {}
        self._asked: defaultdict[int, Backoff] = defaultdict(Backoff)
        self._problems: dict[int, str] = {}
        self._is_away = False
        self._pushes: defaultdict[tuple[int, str], Backoff] = defaultdict(Backoff)
        #: Where tasks come by score, what served the boxes of the open ones, as last seen.
        self._shown: defaultdict[int, dict[int, Set[str]]] = defaultdict(dict)
        #: Which of these a push was queued for, and what they showed, by project and served name.
        self._tried: defaultdict[tuple[int, str], dict[int, Set[str]]] = defaultdict(dict)
        self._gone: defaultdict[int, Backoff] = defaultdict(Backoff)
        self._images = LackingImages(services)

    def look(self) -> bool:
        """Look at every project once.

        Returns
        -------
        Whether Label Studio and the database answered. What else is wrong with a project is not
        mended by looking again soon; one that is gone is looked for ever more rarely.
        """
        self._is_away = False
        problem = self._try(self._look_at_all)
        is_well = not self._is_away
        self._said(
            0,
            problem
            or self._try(lambda: take_up_lost(self._services))
            or self._try(lambda: name_annotators(self._services)),
        )
        return is_well

    def _look_at_all(self) -> None:
        for project in self._services.projects.all(gone=True):
            if not project.gone or self._gone[project.id].is_due:
                problem = self._try(partial(self._follow, project))
                self._said(project.id, problem or self._left(project.id))

    def _left(self, project: int) -> str:
        """Say what of a project is to be tried again, in words."""
        images = self._services.image_problems.get(project)
        return "; ".join(filter(None, (self._unanswered.get(project), images)))

    def _follow(self, project: Project) -> None:
        try:
            self._bring_up_to_date(project)
        except LabelStudioMissing:
            self._gone[project.id].postpone()
            raise
        self._gone.pop(project.id, None)

    def _bring_up_to_date(self, project: Project) -> None:
        now, away = self._stands(project), dict[int, str]()
        if now != self._seen.get(project.id) or self._asks_again(project.id):
            done = self._reconcile(project.id, now)
            self._seen[project.id] = replace(now, stored=done.kept)
            self._note_shown(project.id, now.by_score, done)
            away = dict(done.without_image)
        self._images.fetch(project.id, away)
        after_correction(self._services, project.id)
        self._push(project.id, now.by_score)

    def _stands(self, project: Project) -> Seen:
        known = follow(self._services, project.id)
        annotations = known["total_annotations_number"] + known["skipped_annotations_number"]
        newest = self._services.label_studio.newest_change(project.id)
        stored = self._stored(project.id)
        by_score = known.get("sampling") == BY_SCORE
        numbers = known["task_number"], annotations, stored, project.late_events
        return Seen(newest, *numbers, by_score)

    def _stored(self, project: int) -> int:
        return self._services.annotations.number(project)

    def _reconcile(self, project: int, now: Seen) -> Reconciled:
        """Bring the store up to date."""
        return self._reconcile_changes(project, now) or self._reconcile_all(project)

    def _reconcile_changes(self, project: int, now: Seen) -> Reconciled | None:
        """Bring it up to date with the tasks that changed; None where others may differ too."""
        before = self._seen.get(project)
        if not before or not before.newest or self._asks_again(project):
            return None
        if not before.may_be_followed_by(now):
            return None
        changes = reconcile_changes(self._services, project, before.newest)
        made = sum(moment > before.newest for moment in changes.made)
        numbers = before.tasks + made, self._stored(project)
        if changes.unanswered or (now.tasks, now.annotations) != numbers:
            return None
        return replace(changes, kept=now.annotations)

    def _reconcile_all(self, project: int) -> Reconciled:
        """Go through all tasks, and note those that are to be asked for again."""
        done = reconcile(self._services, project)
        self._shown.pop(project, None)  # of all tasks it is seen anew
        self._unanswered[project] = "; ".join(done.unanswered)
        self._asked[project].postpone()
        if not done.unanswered:
            del self._asked[project]
        return done

    def _asks_again(self, project: int) -> bool:
        """Say whether tasks that had no answer are to be asked for again, with all others."""
        return bool(self._unanswered.get(project)) and self._asked[project].is_due

    def _note_shown(self, project: int, by_score: bool, done: Reconciled) -> None:
        """Keep what the open tasks show that were looked at, where a push is to go by that."""
        before = self._shown.pop(project, {})
        if by_score:
            others = {id: served for id, served in before.items() if id not in done.tasks}
            self._shown[project] = others | dict(done.served)

    def _push(self, project: int, by_score: bool) -> None:
        """Queue the champion's boxes for the open tasks where a push was lost or failed.

        Where their scores say which comes first, the very first version's too, and also where tasks
        came since the last push. One that gets no boxes, as its image is none, is no reason for a
        push again until it changes.
        """
        serves = self._services.registry.served_name(str(project))
        again = self._pushes[project, serves]
        if not again.is_due:
            return
        tried = self._tried[project, serves]
        lacking = {
            id: served
            for id, served in self._shown[project].items()
            if serves not in served and tried.get(id) != served
        }
        # Whatever a push that is worked on says in the end: these tasks may not be on its list.
        if lacking:
            self._services.projects.set_pushed(project, None)
        if push_champion(self._services, project, even_first=by_score):
            again.postpone()
            tried.update(lacking)

    def _try(self, look: Callable[[], object]) -> str:
        """Look, and return what prevented it in words."""
        try:
            look()
        except LabelStudioMissing as error:
            return str(error)
        except (BackendError, ModelError) as error:
            self._is_away |= isinstance(error, LabelStudioSilent)
            return str(error)
        except Exception as error:  # a door: one odd project must not end the poll over all
            self._is_away |= mending.is_away(error)
            if said := mending.in_words(error):
                return said
            log.exception("poll.failed")
            return f"{type(error).__name__}: {error}"
        return ""

    def _said(self, project: int, problem: str) -> None:
        """Log a problem when it begins and when it ends, not at each look."""
        if problem != self._problems.get(project, ""):
            log.warning("poll.problem", project=project, reason=problem or "none any more")
        self._problems[project] = problem


def start_polling(services: Services, every_s: float) -> Callable[[], None]:
    """Look at once and every so many seconds, in a thread of its own; 0: never.

    Returns
    -------
    Ends the poll, and waits a moment for a look that it is at: that holds the store open.
    """
    ended = threading.Event()

    def poll() -> None:
        looking = Poll(services)
        well = looking.look()
        while not ended.wait(every_s if well else min(AWAY_S, every_s)):
            well = looking.look()

    def end() -> None:
        ended.set()
        if thread.is_alive():
            thread.join(LAST_LOOK_S)

    thread = threading.Thread(target=poll, name="poll", daemon=True)
    if every_s > 0:
        thread.start()
    return end
