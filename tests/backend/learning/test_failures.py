from __future__ import annotations

import errno
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from rq.timeouts import JobTimeoutException
from sqlalchemy.exc import OperationalError

from backend.learning import pipeline
from backend.learning.failures import in_words
from backend.learning.pipeline import learn
from backend.learning.taken import run_folder
from backend.services import Services
from backend.store.runs import Run
from model.classical.detector import CLASSICAL_ID
from model.errors import BrokenVersion
from model.keeping.starter import STARTER_ID

FULL = OSError(errno.ENOSPC, "No space left on device")
TORCH_FULL = RuntimeError("[enforce fail at inline_container.cc:671] . file write failed")
SQLITE_FULL = sqlite3.OperationalError("database or disk is full")
SQLITE_FULL.sqlite_errorcode = sqlite3.SQLITE_FULL
READ_ONLY = OSError(errno.EROFS, "Read-only file system")
CUDA_FULL = RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
ONNX_FULL = BrokenVersion(
    "bfc_arena.cc:360 Failed to allocate memory for requested buffer of size 5"
)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FULL, "The disk is full"),
        (TORCH_FULL, "The disk is full"),
        (
            OperationalError("UPDATE runs", {}, SQLITE_FULL),
            "The database cannot be read or written (database or disk is full). Its disk is full",
        ),
        (READ_ONLY, "The disk cannot be written to"),
        (MemoryError(), "The memory is full"),
        (CUDA_FULL, "The memory is full"),
        (ONNX_FULL, "The memory is full"),
        (RuntimeError("could not create a primitive"), "The memory is full"),
        (
            JobTimeoutException("Task exceeded maximum timeout value (60 seconds)"),
            "It took longer than it may (JobTimeoutException: Task exceeded maximum timeout value "
            "(60 seconds)). Raise CYTOLOOP_JOB_TIMEOUT_S",
        ),
        (ValueError("odd.\nvery"), "ValueError: odd."),
    ],
)
def test_a_failure_is_said_in_words_that_tell_what_to_do(error: Exception, said: str) -> None:
    assert in_words(error).startswith(said)
    assert "\n" not in in_words(error)


@pytest.fixture
def run(services: Services, project: int, correct_fields: Any) -> Run:
    correct_fields(range(5))
    opened = services.runs.open(project, 5, "milestone")
    assert opened is not None
    return opened


@pytest.mark.parametrize("error", [FULL, TORCH_FULL, READ_ONLY, MemoryError()])
def test_a_training_without_room_ends_the_run_and_leaves_all_else(
    services: Services,
    project: int,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    def without_room(*args: Any, workdir: Path, **more: Any) -> Any:
        workdir.mkdir()
        (workdir / ".partial-checkpoint.pt-1").write_bytes(b"half")
        raise error

    monkeypatch.setattr(pipeline, "make_candidate", without_room)
    learn(services, run.id)
    ended = services.runs.get(run.id)
    assert ended.state == "failed"
    assert ended.message.endswith("The champion serves as before.")
    assert services.registry.champion(str(project)).id == CLASSICAL_ID
    assert [version.id for version in services.registry.list()] == [CLASSICAL_ID, STARTER_ID]
    folder = run_folder(services.settings, run.id)
    assert [path.name for path in folder.iterdir()] == ["snapshot.json"]


def test_the_room_that_a_training_took_is_free_before_its_end_is_written(
    services: Services, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    working = run_folder(services.settings, run.id) / "training"

    def without_room(*args: Any, workdir: Path, **more: Any) -> Any:
        workdir.mkdir()
        raise FULL

    ended = []

    def finish(*args: Any, **fields: Any) -> bool:
        ended.append(working.exists())
        return True

    monkeypatch.setattr(pipeline, "make_candidate", without_room)
    monkeypatch.setattr(services.runs, "finish", finish)
    learn(services, run.id)
    assert ended == [False]
    assert services.runs.get(run.id).snapshot is not None


def test_a_folder_that_cannot_be_made_ends_the_run(services: Services, run: Run) -> None:
    services.settings.runs_folder.write_text("a file in its place")
    learn(services, run.id)
    ended = services.runs.get(run.id)
    assert ended.state == "failed"
    assert "FileExistsError" in ended.message or "NotADirectoryError" in ended.message


@pytest.mark.parametrize("error", [FULL, READ_ONLY])
def test_a_snapshot_that_cannot_be_written_ends_the_run_without_half_of_it(
    services: Services, run: Run, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    rename = Path.replace

    def replace(self: Path, target: Any) -> Path:
        if Path(target).name == "snapshot.json":
            raise error
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    learn(services, run.id)
    ended = services.runs.get(run.id)
    assert (ended.state, ended.snapshot) == ("failed", None)
    assert list(run_folder(services.settings, run.id).iterdir()) == []
