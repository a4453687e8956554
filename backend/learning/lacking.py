"""Images of corrected tasks that have not come, without which these do not count."""

from __future__ import annotations

from collections.abc import Mapping

from backend.learning.backoff import Backoff
from backend.learning.reconcile import fetch_images
from backend.services import Services
from model.wording import counted


class LackingImages:
    """Tries for the images that corrected tasks of a project lack."""

    def __init__(self, services: Services, project: int) -> None:
        self._services = services
        self._project = project
        #: What keeps those away that were tried for, by task, and when they are tried for again.
        self._why: dict[int, str] = {}
        self._again = Backoff()

    def fetch(self, tried: Mapping[int, str]) -> None:
        """Try for those that are new at once, for the others ever more rarely.

        Parameters
        ----------
        tried
            What kept images away that were tried for just now, by task.

        Raises
        ------
        LabelStudioSilent
            Label Studio answers nothing.
        """
        lacking = self._services.annotations.lacking_image(self._project)
        known = dict(tried) if self._again.is_due else {**self._why, **tried}
        if self._again.is_due:
            self._again.postpone()
        self._why = {id: why for id, why in known.items() if id in lacking}
        new = lacking - self._why.keys()
        self._why |= fetch_images(self._services, self._project, new)
        if not self._why:
            self._again = Backoff()

    @property
    def problem(self) -> str:
        """Why those that are still lacking cannot be had, in words; empty where none is."""
        if not self._why:
            return ""
        lacking, (id, why) = (
            counted(len(self._why), "corrected task"),
            next(iter(self._why.items())),
        )
        return (
            f"Not counted, since their image cannot be had: {lacking}; the first: task {id}: {why}"
        )
