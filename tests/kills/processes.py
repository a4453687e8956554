"""Web and worker as `cytoloop up` runs them, forked off a process that has imported their modules.

That takes six seconds by itself, most of them torch; they are killed and started a hundred times.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from backend.learning import backoff, following
from tests.kills.stages import Stops, stop_learning, stop_pushing, stop_working

PRELOADED = [
    *(
        "backend.app",
        "backend.jobs",
        "gunicorn.app.wsgiapp",
        "model.rcnn.export",
        "model.training.train",
    ),
    # What jobs import when they come to it.
    *("onnx", "skimage.measure", "skimage.segmentation", "skimage.transform"),
    *("sklearn.cluster", "sklearn.metrics"),
]


class Forked:
    """A process of ours, with a log."""

    def __init__(
        self, run: Callable[..., None], environment: Mapping[str, str], log: Path, *args: Any
    ) -> None:
        forking = multiprocessing.get_context("forkserver")
        forking.set_forkserver_preload(PRELOADED)
        self._process = forking.Process(
            target=_run, args=(run, dict(environment), log, args), daemon=True
        )
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def exit_code(self) -> int | None:
        return self._process.exitcode

    def wait(self) -> None:
        self._process.join()


def web(command: Sequence[str]) -> None:
    """Carry out the command of the web process, ``python -P -m gunicorn …``."""
    # A push is killed several times in a row.
    following.Backoff, backoff.FACTOR = partial(backoff.Backoff, wait_s=0.5), 1.0
    module = command.index("-m") + 1
    sys.argv = list(command[module:])
    runpy.run_module(command[module], run_name="__main__", alter_sys=True)


def worker(folder: Path, checkpoint_every: int) -> None:
    """Run `cytoloop worker`, whose jobs stop where they are told."""
    from backend import jobs

    jobs.NICENESS = 0  # other programs of a busy machine would starve them
    learn, push, stops = jobs.learn, jobs.push, Stops(folder)

    def stopping_learn(*args: Any) -> None:
        stop_learning(stops, checkpoint_every)
        learn(*args)

    def stopping_push(*args: Any) -> None:
        stop_pushing(stops)
        push(*args)

    stop_working(stops)
    jobs.learn, jobs.push = stopping_learn, stopping_push
    jobs.run_worker()


def _run(
    run: Callable[..., None], environment: Mapping[str, str], log: Path, args: Sequence[Any]
) -> None:
    os.environ.update(environment)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(out, 1)
    os.dup2(out, 2)
    run(*args)
