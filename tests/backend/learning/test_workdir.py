from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest

from backend.errors import BadRequest
from backend.learning.workdir import STOPPED_KEPT, workdir
from backend.settings import Settings

NOW_S = 1.8e9


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


def stop(settings: Settings, *training: object) -> Path:
    with suppress(KeyboardInterrupt), workdir(settings, *training) as folder:
        (folder / "checkpoint.pt").touch()
        raise KeyboardInterrupt
    return folder


def test_a_training_that_was_stopped_finds_its_folder_again_and_leaves_none_when_it_ends(
    settings: Settings,
) -> None:
    left = stop(settings, "images", {"batch": 4})
    with workdir(settings, "images", {"batch": 4}) as folder:
        assert folder == left
        assert (folder / "checkpoint.pt").exists()
    assert list(settings.trainings_folder.iterdir()) == []


def test_of_trainings_that_were_stopped_the_last_few_can_go_on_when_another_begins(
    settings: Settings,
) -> None:
    left = [stop(settings, "images", {"batch": batch}) for batch in range(STOPPED_KEPT + 1)]
    for age_s, folder in enumerate(reversed(left)):
        os.utime(folder, (NOW_S - age_s, NOW_S - age_s))
    (settings.trainings_folder / "gone.lock").touch()
    with workdir(settings, "another"):
        assert [folder.exists() for folder in left] == [False] + [True] * STOPPED_KEPT
    kept = {path.with_suffix("") for path in settings.trainings_folder.iterdir()}
    assert kept == set(left[1:])


def test_a_training_that_runs_is_none_of_the_stopped_that_are_kept(settings: Settings) -> None:
    left = [stop(settings, "stopped", number) for number in range(STOPPED_KEPT)]
    with workdir(settings, "one"), workdir(settings, "other"), workdir(settings, "another"):
        assert all(folder.exists() for folder in left)


def test_trainings_beside_one_another_leave_each_other_alone(settings: Settings) -> None:
    with workdir(settings, "one") as one, workdir(settings, "other") as other:
        assert one.is_dir()
        assert other.is_dir()
        with pytest.raises(BadRequest, match="at this very training"), workdir(settings, "one"):
            pass
        assert one.is_dir()


def test_a_training_that_failed_before_its_first_checkpoint_leaves_nothing(
    settings: Settings,
) -> None:
    with pytest.raises(ValueError, match="no box"), workdir(settings, "empty"):
        raise ValueError("no box")
    assert list(settings.trainings_folder.iterdir()) == []
