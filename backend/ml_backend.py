"""A second door to the same predictor, for label-studio-ml's own server and tools.

Nothing else may import this: label_studio_ml imports torch and sets multiprocessing to spawn.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from label_studio_ml.model import LabelStudioMLBase

from backend.learning.triggers import start_training
from backend.numbers import project_number
from backend.services import build_services
from backend.serving.predictor import Answer, Predictor
from backend.serving.slot import Slot


class CellBackend(LabelStudioMLBase):  # type: ignore[misc]
    """Cytoloop behind ``label-studio-ml start``: predicts like the web process, trains on RQ.

    Parameters
    ----------
    predictor
        A predictor with its versions loaded; by default this process's own. Label Studio ML makes a
        new model with each /setup, so loaded versions must outlive the model.
    """

    def __init__(
        self,
        label_config: str | None = None,
        train_output: dict[str, Any] | None = None,
        predictor: Predictor | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(label_config=label_config, train_output=train_output, **kwargs)
        self._predictor = predictor or _shared_predictor()

    def predict(self, tasks: list[dict[str, Any]], **kwargs: Any) -> list[Answer]:
        """Answer each task, in order."""
        if not tasks:
            return []
        project = project_number(tasks[0].get("project"))
        return self._predictor.predict(project, tasks, self.label_config)

    def fit(self, tasks: Any, workdir: str | None = None, **kwargs: Any) -> dict[str, Any]:
        """Open a run; the worker does the training."""
        project = (kwargs.get("data") or {}).get("project") or {}
        run = start_training(self._predictor.services, project_number(project.get("id")))
        return {"job": str(run.id)}


@cache
def _shared_predictor() -> Predictor:
    services = build_services()
    return Predictor(services, Slot(services.registry, services.settings.device))
