"""Looks at Label Studio every ``CYTOLOOP_POLL_S`` seconds: events are hints and may be lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

import structlog

from backend.errors import BackendError, LabelStudioMissing, LabelStudioSilent
from backend.learning.following import FollowedProject
from backend.learning.problems import Problems
from backend.learning.reconcile import name_annotators
from backend.learning.triggers import take_up_lost
from backend.services import Services
from backend.store import mending
from model.errors import ModelError

log = structlog.get_logger(__name__)

#: How soon to look again if Label Studio (while it starts, say) or the database is away.
AWAY_S = 5.0
#: How long an ending web process waits for a look: less than it is given to end.
LAST_LOOK_S = 2.0


class Poll:
    """Keeps the store as Label Studio has it, and the queue as the store has it.

    Parameters
    ----------
    problems
        Receives what is wrong with projects, for whoever asks.
    """

    def __init__(self, services: Services, problems: Problems) -> None:
        self._services = services
        self._problems = problems
        self._followed: dict[int, FollowedProject] = {}
        #: By project, the last logged problem; 0 is for problems of no project.
        self._logged: dict[int, str] = {}
        self._is_away = False

    def look(self) -> bool:
        """Look at every project once.

        Returns
        -------
        Whether Label Studio and the database answered. Looking again soon does not mend a project's
        other problems; a project that is gone is looked for ever more rarely.
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
            new = FollowedProject(self._services, self._problems, project.id)
            followed = self._followed.setdefault(project.id, new)
            if not project.gone or followed.is_due:
                problem = self._try(partial(followed.look, project))
                self._said(project.id, problem or followed.left)

    def _try(self, look: Callable[[], object]) -> str:
        """Look, and return in words what prevented it."""
        try:
            look()
        except LabelStudioMissing as error:
            return str(error)
        except (BackendError, ModelError) as error:
            self._is_away |= isinstance(error, LabelStudioSilent)
            return str(error)
        except Exception as error:  # outermost: one odd project must not end the poll of all
            self._is_away |= mending.is_away(error)
            if said := mending.in_words(error):
                return said
            log.exception("poll.failed")
            return f"{type(error).__name__}: {error}"
        return ""

    def _said(self, project: int, problem: str) -> None:
        """Log a problem when it begins and when it ends, not at each look."""
        if problem != self._logged.get(project, ""):
            log.warning("poll.problem", project=project, reason=problem or "none any more")
        self._logged[project] = problem


def start_polling(services: Services, problems: Problems, every_s: float) -> Callable[[], None]:
    """Look now and then every ``every_s`` seconds, in a thread of its own; 0: never.

    Returns
    -------
    A function that ends the poll and waits briefly for a look under way, which uses the store.
    """
    ended = threading.Event()

    def poll() -> None:
        looking = Poll(services, problems)
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
