"""What the views of an app share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from flask import Flask, current_app

from backend.learning.problems import Problems
from backend.services import Services
from backend.serving.predictor import Predictor
from backend.serving.slot import Slot

EXTENSION = "cytoloop"


@dataclass(frozen=True)
class Parts:
    """The services, and what only a web process has: loaded versions, and the problems it found."""

    services: Services
    slot: Slot
    predictor: Predictor
    problems: Problems

    def of(self, app: Flask) -> None:
        app.extensions[EXTENSION] = self


def parts() -> Parts:
    """Return the parts of the app that handles this request."""
    return cast(Parts, current_app.extensions[EXTENSION])
