from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from backend.errors import BadRequest
from backend.learning.workdir import workdir
from backend.settings import Settings


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


def test_another_training_sweeps_up_what_a_stopped_one_left(settings: Settings) -> None:
    left = stop(settings, "images", {"batch": 4})
    with workdir(settings, "images", {"batch": 8}) as folder:
        assert folder != left
        assert not left.exists()
    assert list(settings.trainings_folder.iterdir()) == []


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
