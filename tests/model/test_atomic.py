"""Writes that end well, fail, or are killed, each in a folder that others write in too."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
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


def test_a_write_that_goes_on_when_the_one_before_it_ends_is_left_alone(tmp_path: Path) -> None:
    with ExitStack() as first:
        first.enter_context(new_file(tmp_path / "a.json")).write_text("a")
        with new_folder(tmp_path / "version") as folder, new_file(tmp_path / "a.json") as another:
            another.write_text("b")
            first.close()
            write_json(tmp_path / "c.json", {})
            assert (another.read_text(), names(folder)) == ("b", [])
    assert (tmp_path / "a.json").read_text() == "b"


@pytest.mark.parametrize("filled", [True, False])
def test_a_folder_that_is_there_already_stays_as_it_is(tmp_path: Path, filled: bool) -> None:
    with new_folder(tmp_path / "version") as folder:
        if filled:
            write_json(folder / "old.json", {})
    before = names(tmp_path / "version")
    with pytest.raises(FileExistsError, match="version is there already"):  # noqa: SIM117
        with new_folder(tmp_path / "version") as folder:
            write_json(folder / "new.json", {})
    assert (names(tmp_path), names(tmp_path / "version")) == (["version"], before)


def test_what_is_written_is_on_the_disk_before_its_name_and_its_name_before_the_write_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted: list[tuple[str, list[str]]] = []

    def note(descriptor: int) -> None:
        paths = [os.readlink(f"/proc/self/fd/{descriptor}"), *names(tmp_path)]
        synced, *there = (re.sub("(?<=partial-)(.*)-.*", r"\1", Path(p).name) for p in paths)
        noted.append((synced, there))

    monkeypatch.setattr(os, "fsync", note)
    opened = len(os.listdir("/proc/self/fd"))
    with new_folder(tmp_path / "v1") as folder:
        (folder / "weights").touch()
    write_json(tmp_path / "a", {})
    remove_folder(tmp_path / "v1")
    assert noted == [
        ("weights", [".partial-v1"]),
        (".partial-v1", [".partial-v1"]),
        (tmp_path.name, ["v1"]),
        (".partial-a", [".partial-a", "v1"]),
        (tmp_path.name, ["a", "v1"]),
        (tmp_path.name, [".partial-v1", "a"]),
        (tmp_path.name, ["a"]),
    ]
    assert len(os.listdir("/proc/self/fd")) == opened


@pytest.mark.parametrize("new", [new_file, new_folder])
def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, new: New) -> None:
    write_json(tmp_path / "a.json", {"old": 1})
    with pytest.raises(RuntimeError), new(tmp_path / "a.json"):
        raise RuntimeError
    assert names(tmp_path) == ["a.json"]
    assert "old" in (tmp_path / "a.json").read_text()


def test_a_folder_that_is_removed_is_gone_with_all_that_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "registry" / "versions" / "first"  # whose folders are not there yet
    with new_folder(path) as folder:
        write_json(folder / "version.json", {})
    assert names(path) == ["version.json"]
    remove_folder(path)
    assert names(path.parent) == []


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
