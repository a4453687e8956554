"""The stages of a run, and the seam at which a test stops a job exactly there.

No product code knows of it: the worker of these tests (``processes.worker``) puts the seam round
the functions that carry a stage out, and the move by which a written file takes its place.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

#: In the order in which a run comes to them. A name with "write" is the moment at which all is
#: written beside its place and not yet moved there.
LEARNING = (
    "job taken",
    "snapshot",
    "snapshot write",
    "checkpoint write",
    "training",
    "export",
    "calibration",
    "registry write",
    "judging",
    "decision write",
    "policy",
    "promotion write",
    "end",
)
PUSHING = ("push begun", "push half done", "push end")
STAGES = LEARNING + PUSHING
#: From here on another version serves.
PROMOTED_FROM = STAGES.index("end")
#: The task at which a push is half done.
HALF = 3


@dataclass(frozen=True)
class Stops:
    """Where a job is to stop next, and whether it has: two files that both sides see.

    A job that stopped waits there until it is let go on, or killed.
    """

    folder: Path

    def ask(self, stage: str) -> None:
        """Have the next job that comes to a stage stop there."""
        partial = self._asked.with_suffix(".new")
        partial.write_text(stage)
        partial.replace(self._asked)

    def stopped(self) -> bool:
        """Tell whether a job has stopped there."""
        return self._reached.exists()

    def release(self) -> None:
        self._reached.unlink()

    def reach(self, stage: str) -> None:
        """Stop here, in the job, if this is the stage that was asked for."""
        if not self._asked.exists() or self._asked.read_text() != stage:
            return
        self._asked.unlink()
        self._reached.touch()
        while self._reached.exists():
            time.sleep(0.02)

    @property
    def _asked(self) -> Path:
        return self.folder / "stop-at"

    @property
    def _reached(self) -> Path:
        return self.folder / "stopped"

    def before(
        self, owner: Any, name: str, stage: str, when: Callable[..., bool] = lambda *args: True
    ) -> None:
        """Reach a stage whenever a function is about to be called."""
        carried_out = getattr(owner, name)

        @wraps(carried_out)
        def stopping(*args: Any, **named: Any) -> Any:
            if when(*args):
                self.reach(stage)
            return carried_out(*args, **named)

        setattr(owner, name, stopping)


def stop_working(stops: Stops) -> None:
    """Put the seam where a worker has taken a job from its queue and has not told anybody yet."""
    from backend import queue

    stops.before(queue._Worker, "execute_job", "job taken")


def stop_learning(stops: Stops, checkpoint_every: int) -> None:
    """Put the seam round the stages of a run, in the job that carries it out.

    It stops in its training at the second step behind the first checkpoint, so that a step is lost.
    """
    import model.learning.candidate
    import model.rcnn.export
    import model.training.steps
    from backend.learning import pipeline, promoting

    _stop_moves(stops)
    model.training.steps.CHECKPOINT_EVERY = checkpoint_every
    stops.before(pipeline, "reconcile", "snapshot")
    stops.before(
        model.training.steps.Training,
        "step",
        "training",
        lambda run, *_: run.iteration == checkpoint_every + 1,
    )
    stops.before(model.rcnn.export, "export", "export")
    stops.before(model.learning.candidate, "threshold_for", "calibration")
    stops.before(promoting, "judge_beside_champion", "judging")
    stops.before(promoting, "show_least_work", "policy")
    stops.before(promoting, "_push", "end")


def stop_pushing(stops: Stops) -> None:
    """Put the seam round the stages of a push."""
    from backend.labelstudio.client import LabelStudio

    given: list[int] = []

    def is_half(_: LabelStudio, task: int, *rest: object) -> bool:
        given.append(task)
        return len(given) == HALF

    stops.before(LabelStudio, "create_prediction", "push half done", is_half)
    stops.before(LabelStudio, "create_prediction", "push begun")
    stops.before(LabelStudio, "patch_project", "push end")


def _stop_moves(stops: Stops) -> None:
    for name in ("replace", "rename"):
        move = getattr(os, name)

        def moving(source: Any, target: Any, move: Any = move, **named: Any) -> None:
            stops.reach(f"{_written(Path(source), Path(target))} write")
            move(source, target, **named)

        setattr(os, name, moving)


def _written(source: Path, target: Path) -> str:
    """Return what takes its place by a move."""
    if target.parent.name == "champions":
        champions = [json.loads(path.read_text())["champion"] for path in (source, target)]
        return "promotion" if len(set(champions)) == 2 else ""
    if target.parent.name == "versions":
        return "registry"
    if target.name == "version.json" and not target.parent.name.startswith("."):
        return "decision"
    return {"snapshot.json": "snapshot", "checkpoint.pt": "checkpoint"}.get(target.name, "")
