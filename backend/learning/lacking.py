"""Images that corrected tasks still lack; without its image a correction does not count."""

from __future__ import annotations

from collections.abc import Mapping

from backend.learning.backoff import Backoff
from backend.learning.reconcile import fetch_images
from backend.services import Services
from model.wording import counted


class LackingImages:
    """Tries to get the images that corrected tasks of a project lack."""

    def __init__(self, services: Services, project: int) -> None:
        self._services = services
        self._project = project
        #: By task, why its image could not be had, and when all are tried again.
        self._why: dict[int, str] = {}
        self._again = Backoff()

    def fetch(self, tried: Mapping[int, str]) -> None:
        """Try for new ones at once, and for the others ever more rarely.

        Parameters
        ----------
        tried
            By task, why an image tried for just now could not be had.

        Raises
        ------
        LabelStudioSilent
            Label Studio does not answer.
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
        """Why the lacking images cannot be had, in words; empty if none is lacking."""
        if not self._why:
            return ""
        lacking, (id, why) = (
            counted(len(self._why), "corrected task"),
            next(iter(self._why.items())),
        )
        return (
            f"Not counted, since their image cannot be had: {lacking}; the first: task {id}: {why}"
        )
