from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from backend.learning import taken
from backend.learning.taken import is_taken, remove, take
from model.atomic import try_lock


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "trainings" / "one"


def test_a_folder_is_taken_while_one_holds_it_and_no_other_gets_it(folder: Path) -> None:
    assert not is_taken(folder)
    with take(folder) as free, take(folder) as other:
        assert (free, other, is_taken(folder)) == (True, False, True)
    assert not is_taken(folder)
    with take(folder) as again:
        assert again


def test_a_folder_that_is_removed_leaves_nothing_and_who_comes_too_early_makes_it_not_anew(
    folder: Path,
) -> None:
    with take(folder):
        folder.rmdir()
        with take(folder) as other:
            assert (other, folder.exists()) == (False, False)
    with take(folder):
        (folder / "snapshot.json").touch()
        remove(folder)
    assert list(folder.parent.iterdir()) == []


def test_two_who_ask_at_once_whether_a_folder_is_taken_do_not_see_each_other(folder: Path) -> None:
    with take(folder):
        pass
    with folder.with_suffix(".lock").open() as asking:
        assert try_lock(asking.fileno(), shared=True)
        assert not is_taken(folder)


def test_to_ask_whether_a_folder_is_taken_leaves_nothing(folder: Path) -> None:
    folder.mkdir(parents=True)
    assert not is_taken(folder)
    assert list(folder.parent.iterdir()) == [folder]


def test_who_comes_just_when_a_training_ends_alone_holds_its_folder_anew(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ending = ExitStack()
    ending.enter_context(take(folder))

    def lock_once_that_has_ended(descriptor: int, *, shared: bool = False) -> bool:
        monkeypatch.undo()
        remove(folder)
        ending.close()
        return try_lock(descriptor, shared=shared)

    monkeypatch.setattr(taken, "try_lock", lock_once_that_has_ended)
    with take(folder) as free, take(folder) as other:
        assert (free, other) == (True, False)
        assert folder.is_dir()
