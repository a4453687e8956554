"""What the web process last found wrong with projects."""

from __future__ import annotations

import structlog

log = structlog.get_logger(__name__)


class Problems:
    """Why projects are not fully followed, in words, as the poll and the events find it.

    Only the web process has it; other processes ask the web process.
    """

    def __init__(self) -> None:
        self._label_configs: dict[int, str] = {}
        self._images: dict[int, str] = {}

    def note_label_config(self, project: int, problem: str) -> None:
        """Keep why a label_config cannot be used; empty if it can."""
        if problem != self._label_configs.get(project, ""):
            log.warning("project.label_config", project=project, reason=problem or "none any more")
        self._label_configs[project] = problem

    def note_images(self, project: int, problem: str) -> None:
        """Keep why images of corrected tasks cannot be had; empty if all can."""
        self._images[project] = problem

    def of(self, project: int) -> str:
        """Return all that is wrong with a project; empty if nothing is."""
        found = (self._label_configs.get(project), self._images.get(project))
        return " ".join(filter(None, found))
