"""Images of corrected tasks that have not come, without which these do not count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from backend.learning.backoff import Backoff
from backend.learning.reconcile import fetch_images
from backend.services import Services
from model.wording import counted


@dataclass
class _Away:
    """What keeps images of a project away, by task, and when they are tried again."""

    why: dict[int, str] = field(default_factory=dict)
    again: Backoff = field(default_factory=Backoff)


class LackingImages:
    """Tries for the images that corrected tasks lack, and has their projects say why in words."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._away: dict[int, _Away] = {}

    def fetch(self, project: int, tried: Mapping[int, str]) -> None:
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
        lacking = self._services.annotations.lacking_image(project)
        away = self._away.setdefault(project, _Away())
        known = dict(tried) if away.again.is_due else {**away.why, **tried}
        if away.again.is_due:
            away.again.postpone()
        away.why = {id: why for id, why in known.items() if id in lacking}
        away.why |= fetch_images(self._services, project, lacking - away.why.keys())
        if not away.why:
            del self._away[project]
        self._services.image_problems[project] = _in_words(away.why)


def _in_words(why: Mapping[int, str]) -> str:
    if not why:
        return ""
    lacking, (id, first) = counted(len(why), "corrected task"), next(iter(why.items()))
    return f"Not counted, since their image cannot be had: {lacking}; the first: task {id}: {first}"
