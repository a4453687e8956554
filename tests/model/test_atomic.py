"""Writes that end well, fail, or are killed, each in a folder that others write in too."""

from __future__ import annotations

import errno
import fcntl
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch

from model.atomic import new_file, new_folder, remove_folder, write_json

New = Callable[[Path], AbstractContextManager[Path]]
KILLED = """
import os, sys
from pathlib import Path
from model import atomic

with getattr(atomic, sys.argv[1])(Path(sys.argv[2])) as partial:
    if sys.argv[1] == "new_file":
        partial.write_text("half")
    os.kill(os.getpid(), 9)
"""


def kill_within(new: str, path: Path) -> None:
    """Have another process write, and be killed in the midst of it."""
    done = subprocess.run([sys.executable, "-c", KILLED, new, str(path)], check=False)
    assert done.returncode == -9


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("new", ["new_file", "new_folder"])
def test_what_a_killed_write_left_goes_with_the_next_one_in_the_folder(
    tmp_path: Path, new: str
) -> None:
    kill_within(new, tmp_path / "a")
    (left,) = names(tmp_path)
    assert left.startswith(".partial-")
    write_json(tmp_path / "b.json", {})
    assert names(tmp_path) == ["b.json"]


def write(path: Path, write_to: Callable[[Path], object]) -> None:
    with new_file(path) as partial:
        write_to(partial)


def test_a_full_disk_is_told_as_such_though_torch_tells_of_something_else(tmp_path: Path) -> None:
    def with_torch(partial: Path) -> None:
        partial.symlink_to("/dev/full")
        torch.save({"a": torch.zeros(1000)}, partial)

    with pytest.raises(OSError, match="No space left") as raised:
        write(tmp_path / "weights", with_torch)
    assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(tmp_path / "weights"))
    assert names(tmp_path) == []


def test_what_ends_a_write_while_there_is_room_is_told_as_it_is(tmp_path: Path) -> None:
    def half(partial: Path) -> None:
        partial.write_text("half")
        raise RuntimeError("unexpected pos")

    with pytest.raises(RuntimeError, match="unexpected pos"):
        write(tmp_path / "weights", half)
    assert names(tmp_path) == []


def test_a_write_that_goes_on_meanwhile_is_left_alone(tmp_path: Path) -> None:
    kill_within("new_file", tmp_path / "a")
    with new_folder(tmp_path / "version") as folder:
        write_json(folder / "version.json", {})
        with new_file(tmp_path / "b.json") as file:
            file.write_text("b")
        assert (folder / "version.json").exists()
    assert names(tmp_path) == ["b.json", "version"]


@pytest.mark.parametrize("new", [new_file, new_folder])
def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, new: New) -> None:
    write_json(tmp_path / "a.json", {"old": 1})
    with pytest.raises(RuntimeError), new(tmp_path / "a.json"):
        raise RuntimeError
    assert names(tmp_path) == ["a.json"]
    assert "old" in (tmp_path / "a.json").read_text()


def test_a_folder_that_is_removed_is_gone_with_all_that_is_in_it(tmp_path: Path) -> None:
    with new_folder(tmp_path / "version") as folder:
        write_json(folder / "version.json", {})
    remove_folder(tmp_path / "version")
    assert names(tmp_path) == []


@pytest.mark.parametrize("locks", ["none", "shared"])
def test_on_a_file_server_that_locks_no_folder_writes_are_whole_and_nothing_is_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locks: str
) -> None:
    flock = fcntl.flock

    def refuse(descriptor: int, how: int) -> None:
        if locks == "none" or how & fcntl.LOCK_EX:
            raise OSError(errno.EBADF, "Bad file descriptor")
        flock(descriptor, how)

    kill_within("new_file", tmp_path / "a")
    (left,) = names(tmp_path)
    monkeypatch.setattr("model.atomic.fcntl.flock", refuse)
    write_json(tmp_path / "b.json", {})
    with new_folder(tmp_path / "version") as folder:
        write_json(folder / "version.json", {})
    assert names(tmp_path) == [left, "b.json", "version"]
    remove_folder(tmp_path / "version")
    assert names(tmp_path) == [left, "b.json"]
