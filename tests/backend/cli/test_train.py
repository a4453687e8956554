from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from backend.datasets.voc import write_voc
from model.boxes import Box
from model.classical.detector import CLASSICAL_ID
from model.keeping.starter import STARTER_ID
from tests.backend.cli.conftest import NAMED, SHORT, Run, truth_in
from tests.backend.cli.conftest import command as the_command


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--preset", "m99"), "preset cannot be 'm99': there are default, fast, m03"),
        (("--map", "Nucleus"), "OLD=NEW"),
        (("--classes", "WBC"), "Unknown class Nucleus: known to --classes are WBC."),
        (("--classes", "WBC, WBC,"), "Unknown class Nucleus: known to --classes are WBC."),
        (("--start", "trained-x"), "no version trained-x"),
        (("--start", CLASSICAL_ID), "classical-1 has no weights to go on from"),
        (("--start", STARTER_ID, "--preset", "m06"), "of another architecture"),
    ],
)
def test_what_cannot_be_learned_is_told_in_one_line(
    run: Run, cells: Path, words: tuple[str, ...], message: str
) -> None:
    data = truth_in(cells)
    result = run("train", *words, *data)
    assert result.exit_code == 2
    assert message in result.stderr


def test_too_few_images_to_hold_one_out_are_refused(run: Run, cells: Path, tmp_path: Path) -> None:
    (tmp_path / "few").mkdir()
    for name in ("field0.png", "field1.png"):
        (tmp_path / "few" / name).write_bytes((cells / "images" / name).read_bytes())
    result = run("train", "--images", tmp_path / "few", "--annotations", cells / "annotations")
    assert result.exit_code == 2
    assert "label at least three" in result.stderr


def test_train_leaves_out_images_of_which_all_boxes_look_wrong(
    run: Run, cells: Path, tmp_path: Path
) -> None:
    shutil.copytree(cells, tmp_path / "in")
    parts = [Box(0.1, 0.2, 0.3, 0.4, "Nucleus")]  # of the image's sides
    for number in (2, 3, 4):
        path = tmp_path / "in" / "annotations" / f"field{number}.xml"
        write_voc(path, f"field{number}.png", 160, 128, 1, parts)
    result = run("train", *truth_in(tmp_path / "in"))
    assert result.exit_code == 2
    lost = "field2.png, field3.png, field4.png"
    assert f"3 images left out, none of its boxes can be used: {lost}" in result.stderr
    assert "2 images: too few to learn from some and judge on others" in result.stderr


def test_many_images_of_one_field_are_told_to_show_too_few(
    run: Run, cells: Path, tmp_path: Path
) -> None:
    with Image.open(cells / "images" / "field0.png") as image:
        levels = np.asarray(image, np.float32)
    for seed in range(4):
        noise = np.random.default_rng(seed).normal(0, 2, levels.shape)
        frame = (levels + noise).clip(0, 255).astype(np.uint8)
        Image.fromarray(frame).save(tmp_path / f"frame{seed}.png")
        shutil.copy(cells / "annotations" / "field0.xml", tmp_path / f"frame{seed}.xml")
    result = run("train", "--images", tmp_path, "--annotations", tmp_path)
    assert result.exit_code == 2
    assert "4 images show too few fields" in result.stderr
    assert "`cytoloop labels check --images DIR` lists those that are alike" in result.stderr
    listed = run("labels", "check", "--images", tmp_path).stdout
    names = "frame0.png, frame1.png, frame2.png, frame3.png"
    assert f"4 images show one field and share a side: {names}" in listed


class Trained(NamedTuple):
    """What came of a training that was stopped at its third step and begun again."""

    home: Path
    stopped: Result
    checkpoints: list[Path]
    ended: Result
    steps: list[int]

    @property
    def version(self) -> str:
        return self.ended.stdout.split()[0]


@pytest.fixture(scope="module")
def trained(cells: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    from model.training.steps import Training

    home = tmp_path_factory.mktemp("trained") / "home"
    steps, whole = list[int](), Training.step

    def stop_at_the_third(training: Training, *options: Any) -> float:
        steps.append(training.iteration)
        if len(steps) == 3:
            raise KeyboardInterrupt
        return whole(training, *options)

    more = ("--iterations", "4", "--contrast", "groups-half", *SHORT)
    words = [str(word) for word in ("train", *truth_in(cells), *more)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CYTOLOOP_HOME", str(home))
        patch.setattr(Training, "step", stop_at_the_third)
        stopped = CliRunner().invoke(the_command(), words)
        checkpoints = list((home / "trainings").glob("*/checkpoint.pt"))
        ended = CliRunner().invoke(the_command(), words)
    assert ended.exit_code == 0, ended.output
    return Trained(home, stopped, checkpoints, ended, steps)


@pytest.fixture
def version(trained: Trained, home: Path) -> str:
    """The version that was trained, in the home of this test."""
    shutil.copytree(trained.home, home)
    return trained.version


@pytest.mark.integration
def test_a_training_that_was_stopped_goes_on_when_the_command_is_given_again(
    trained: Trained,
) -> None:
    assert trained.stopped.exit_code != 0
    assert trained.checkpoints
    assert trained.steps == [0, 1, 2, 1, 2, 3]
    assert list((trained.home / "trainings").iterdir()) == []


@pytest.mark.integration
def test_train_makes_a_version_that_evaluate_predict_and_models_know(
    run: Run, cells: Path, tmp_path: Path, trained: Trained, version: str
) -> None:
    assert "4 images to learn from, 1 held out" in trained.ended.stderr
    assert "AP50" in trained.ended.stdout
    data = truth_in(cells)
    evaluated = run("evaluate", *data, "--json", *NAMED)
    figures = json.loads(evaluated.stdout)
    assert figures["version"] == version
    assert len(figures["seen"]) == 4
    assert version in run("models", "list").stdout
    assert version in run("predict", cells / "images", "--out", tmp_path / "out").stderr
    unseen = run("evaluate", *data, "--unseen", *NAMED)
    assert "images            1" in unseen.stdout


@pytest.mark.integration
def test_how_a_training_sees_contrast_can_be_chosen(home: Path, version: str) -> None:
    kept = home / "registry" / "versions" / version / "version.json"
    assert json.loads(kept.read_text("utf-8"))["training"]["contrast"]["strength"] == 0.5


@pytest.mark.integration
def test_a_start_that_was_chosen_by_the_images_that_judge_is_told(
    run: Run, cells: Path, home: Path, version: str
) -> None:
    manifest = home / "sides.json"
    others = {"train": "held-out", "held-out": "train"}
    sides = json.loads(manifest.read_text("utf-8"))
    swapped = {sha: entry | {"side": others[entry["side"]]} for sha, entry in sides.items()}
    manifest.write_text(json.dumps(swapped), "utf-8")
    words = ("train", *truth_in(cells), "--iterations", "1", *SHORT)
    again = run(*words, "--start", version)
    assert again.exit_code == 0, again.output
    assert "chosen by the images that judge, for want of others: the figures fl" in again.stderr
