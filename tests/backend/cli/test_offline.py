from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image, ImageColor

from backend.datasets.report_figures import LINE
from backend.datasets.voc import read_voc, write_voc
from model.boxes import Box
from model.classical.detector import CLASSICAL_ID
from model.keeping.starter import STARTER_ID
from tests.backend.cli.conftest import command as the_command
from tests.labelled import with_broken

Run = Callable[..., Result]

#: The generated cells have another name in the files than in the project.
NAMED = ("--map", "Nucleus=Cell")
SHORT = (*NAMED, "--device", "cpu")


def truth_in(cells: Path) -> tuple[str | Path, ...]:
    return ("--images", cells / "images", "--annotations", cells / "annotations")


def test_evaluate_judges_the_starter_when_nothing_was_trained(run: Run, cells: Path) -> None:
    words = (*truth_in(cells), "--json")
    result = run("evaluate", *words)
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    assert figures["version"] == STARTER_ID
    assert len(figures["images"]) == 5
    assert figures["seen"] == []
    assert figures["any_class"]["ap50"] > 0.5
    assert set(figures["intervals"]["count_error"]) == {"low", "high"}
    assert figures["by_density"]["under 20 cells"]["images"] == len(figures["counts"]) == 5
    assert "nothing was trained yet" in result.stderr


def test_evaluate_prints_figures_a_person_can_read(run: Run, cells: Path) -> None:
    result = run("evaluate", *truth_in(cells))
    assert "any class         AP50 " in result.stdout
    assert "of 30 true" in result.stdout
    assert "under 20 cells  5 images: too few to say" in result.stdout
    assert "mAP of the thesis " in result.stdout


def test_evaluate_says_that_a_version_without_classes_is_not_judged_by_class(
    run: Run, cells: Path, tmp_path: Path
) -> None:
    shutil.copytree(cells, tmp_path / "two")
    changed = tmp_path / "two" / "annotations" / "field1.xml"
    changed.write_text(changed.read_text().replace("<name>Nucleus<", "<name>Platelet<"))
    folders = ("--model", CLASSICAL_ID, "--images", cells / "images", "--annotations")
    told = run("evaluate", *folders, changed.parent, "--json")
    assert f"{CLASSICAL_ID} knows no classes: all its boxes are taken for Nucleus" in told.stderr
    assert json.loads(told.stdout)["notes"][0].startswith(f"{CLASSICAL_ID} knows no classes")
    assert "knows no classes" not in run("evaluate", *folders, cells / "annotations").stderr


def test_evaluate_names_all_images_that_were_left_out_in_its_json_and_the_first_in_a_note(
    run: Run, cells: Path, tmp_path: Path
) -> None:
    names = with_broken(cells, tmp_path / "in", 25)
    folders = ("--images", tmp_path / "in", "--annotations", tmp_path / "in")
    result = run("evaluate", *folders, "--model", CLASSICAL_ID, "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)["notes"][0]
    assert told.startswith(f"{', '.join(names)} left out: ")
    assert f"Note: {', '.join(names[:20])} and 5 more left out: " in result.stderr


def test_evaluate_judges_by_what_train_would_learn_from_and_tells_the_same(
    run: Run, cells: Path, tmp_path: Path
) -> None:
    truth, click = tmp_path / "annotations", Box(5, 5, 6, 40, "Nucleus")
    (tmp_path / "images").mkdir()
    cell = read_voc(cells / "annotations" / "field0.xml").boxes[0]
    for name, boxes in (("field0", [cell, click, cell]), ("field1", [click])):
        shutil.copy(cells / "images" / f"{name}.png", tmp_path / "images")
        write_voc(truth / f"{name}.xml", f"{name}.png", 160, 128, 1, boxes)
    judged = run("evaluate", *truth_in(tmp_path), "--model", CLASSICAL_ID, "--json")
    assert judged.exit_code == 0, judged.output
    figures = json.loads(judged.stdout)
    assert (len(figures["images"]), figures["count"]["true"]) == (1, 1)
    lost, *odd = figures["notes"]
    assert lost == "1 image left out, none of its boxes can be used: field1.png"
    assert len(odd) == 3
    learned = run("train", *truth_in(tmp_path))
    assert "1 image: too few to learn from some" in learned.stderr
    for said in (lost, *odd, "3 boxes look wrong (2 thinner than two pixels, 1 doubled): set as"):
        assert said in judged.stderr
        assert said in learned.stderr
    (truth / "field0.xml").unlink()
    alone = run("evaluate", *truth_in(tmp_path), "--model", CLASSICAL_ID)
    assert alone.exit_code == 2
    assert "All boxes of all images look wrong: there is nothing to judge by" in alone.stderr


def test_evaluate_draws_a_picture_of_the_figures(run: Run, cells: Path, tmp_path: Path) -> None:
    words = truth_in(cells)
    result = run("evaluate", *words, "--picture", tmp_path / "new" / "worth.png")
    assert result.exit_code == 0, result.output
    with Image.open(tmp_path / "new" / "worth.png") as drawn:
        assert drawn.width > 900
        assert ImageColor.getrgb(LINE) in {colour for _, colour in drawn.getcolors(1 << 16)}


def test_images_without_a_cell_are_judged_too(run: Run, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.new("L", (160, 128), 128).save(tmp_path / "images" / "empty.png")
    write_voc(tmp_path / "annotations" / "empty.xml", "empty.png", 160, 128, 1, ())
    words = ("--images", tmp_path / "images", "--annotations", tmp_path / "annotations")
    result = run("evaluate", *words)
    assert result.exit_code == 0, result.output
    assert "images            1" in result.stdout


def test_a_picture_that_cannot_be_drawn_is_refused_before_the_work(
    run: Run, cells: Path, tmp_path: Path
) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "raw.png")
    cases = {"worth.pdf": "is no PNG: call the picture worth.png", "raw.png": "would replace"}
    for name, said in cases.items():
        result = run("evaluate", *truth_in(cells), "--picture", tmp_path / name)
        assert result.exit_code == 2
        assert said in result.stderr
        assert "Reading" not in result.stderr


def test_predict_writes_boxes_pictures_and_counts(run: Run, cells: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"")
    out = tmp_path / "out"
    result = run("predict", cells / "images", tmp_path / "bad.png", "--out", out)
    assert result.exit_code == 0, result.output
    assert "bad.png left out" in result.stderr
    with (out / "counts.csv").open(newline="") as file:
        *rows, left_out = csv.DictReader(file)
    assert (left_out["image"], left_out["count"]) == ("bad.png", "")
    assert [row["image"] for row in rows] == [f"field{n}.png" for n in range(5)]
    for row in rows:
        stem = Path(row["image"]).stem
        assert len(read_voc(out / "annotations" / f"{stem}.xml").boxes) == int(row["count"]) > 0
        with Image.open(out / "drawn" / f"{stem}.png") as drawn:
            assert drawn.size == (160, 128)


def test_a_name_that_is_no_utf8_does_not_end_predict(run: Run, cells: Path, tmp_path: Path) -> None:
    names = (tmp_path / "in" / name for name in ("Prüfung.png", os.fsdecode(b"Pr\xfcfung.png")))
    (tmp_path / "in").mkdir()
    for name in names:
        name.write_bytes((cells / "images" / "field0.png").read_bytes())
    result = run("predict", tmp_path / "in", "--out", tmp_path / "out", "--model", CLASSICAL_ID)
    assert result.exit_code == 0, result.output
    assert r"Note: Pr\xfcfung.png left out: its name is no UTF-8: rename it" in result.stderr
    assert " in 1 image, 1 left out: " in result.stdout
    with (tmp_path / "out" / "counts.csv").open(newline="") as file:
        names = [row["image"] for row in csv.DictReader(file)]
    assert names == ["Prüfung.png", r"Pr\xfcfung.png"]


def test_a_file_that_may_not_be_read_does_not_end_predict(
    run: Run, cells: Path, tmp_path: Path
) -> None:
    lock = shutil.copy(cells / "images" / "field0.png", tmp_path / "lock.png")
    lock.chmod(0)
    if os.access(lock, os.R_OK):
        pytest.skip("root may read all")
    words = ("--out", tmp_path / "out", "--model", CLASSICAL_ID)
    result = run("predict", cells / "images" / "field1.png", lock, *words)
    assert result.exit_code == 0, result.output
    assert "Note: lock.png left out: it cannot be opened (Permission denied)" in result.stderr
    assert " in 1 image, 1 left out: " in result.stdout


def test_predict_tells_images_that_it_left_out_before_files_that_are_none(
    run: Run, cells: Path, tmp_path: Path
) -> None:
    plates = [tmp_path / f"plate{number:02}" for number in range(22)]
    for plate in plates:
        plate.mkdir()
        (plate / "notes.txt").touch()
        shutil.copy(cells / "images" / "field0.png", plate / f"{plate.name}.png")
    (plates[0] / "torn.png").write_bytes(b"")
    result = run("predict", *plates, "--out", tmp_path / "out", "--model", CLASSICAL_ID)
    assert result.exit_code == 0, result.output
    notes = [line for line in result.stderr.splitlines() if line.startswith("Note: ")]
    assert notes[0].startswith("Note: torn.png left out: ")
    assert notes[1].startswith("Note: counted again, each the same file as the one in brackets: ")
    assert notes[2] == f"Note: 1 other file in {plates[0]} left out: notes.txt"


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_a_cell_diameter_is_refused_by_a_version_that_needs_none(
    run: Run, cells: Path, tmp_path: Path, command: str
) -> None:
    data = truth_in(cells)
    words = data if command == "evaluate" else (cells / "images", "--out", tmp_path / "out")
    refused = run(command, *words, "--model", CLASSICAL_ID, "--cell-diameter", "40")
    assert refused.exit_code == 2
    assert "classical-1 needs no cell diameter" in refused.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["predict", "evaluate"])
@pytest.mark.parametrize("told", ["0", "0.5", "nan", "1e6"])
def test_a_cell_diameter_of_which_nothing_can_come_is_refused(
    run: Run, cells: Path, tmp_path: Path, command: str, told: str
) -> None:
    data = truth_in(cells)
    words = data if command == "evaluate" else (cells / "images", "--out", tmp_path / "out")
    refused = run(command, *words, "--cell-diameter", told)
    assert refused.exit_code == 2
    assert "--cell-diameter takes 1 to 10,000 pixels" in refused.stderr


def counted(table: Path) -> int:
    return len(table.read_text().splitlines()) - 1


#: Killed when the third image's files are written and its count is not; the counts before are,
#: however long the writing takes.
KILLED_AT_THE_THIRD = """
import os, signal
from backend.cli import main
from backend.datasets import counting

add = counting.Counts.add

def add_two(counts, *image):
    if len(counts.entries) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return add(counts, *image)

counting.Counts.add, counting.REST = add_two, 0
main()
"""


@pytest.mark.integration
def test_a_predict_that_was_killed_goes_on_and_ends_as_if_it_had_not_been(
    run: Run, cells: Path, tmp_path: Path
) -> None:
    table = tmp_path / "out" / "counts.csv"
    words = ["predict", str(cells / "images"), "--out", str(tmp_path / "out")]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_AT_THE_THIRD, *words], stderr=subprocess.DEVNULL, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert counted(table) == 2
    result = run(*words)
    assert result.exit_code == 0, result.output
    assert " in 5 images, " in result.stdout
    assert ", 2 of them before: " in result.stdout
    run(*words[:3], tmp_path / "whole")
    assert table.read_text() == (tmp_path / "whole" / "counts.csv").read_text()


def test_predict_never_writes_over_what_is_there(run: Run, cells: Path) -> None:
    result = run("predict", cells / "images", "--out", cells)
    assert result.exit_code == 2
    assert "nothing is overwritten" in result.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("evaluate", "--model", "trained-x"), "no version trained-x"),
        (("train", "--preset", "m99"), "preset cannot be 'm99': there are default, fast, m03"),
        (("train", "--map", "Nucleus"), "OLD=NEW"),
        (("train", "--classes", "WBC"), "Unknown class Nucleus: known to --classes are WBC."),
        (("train", "--classes", "WBC, WBC,"), "Unknown class Nucleus: known to --classes are WBC."),
        (("train", "--start", "trained-x"), "no version trained-x"),
        (("train", "--start", CLASSICAL_ID), "classical-1 has no weights to go on from"),
        (("train", "--start", STARTER_ID, "--preset", "m06"), "of another architecture"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(
    run: Run, cells: Path, words: tuple[str, ...], message: str
) -> None:
    data = truth_in(cells)
    result = run(*words, *data)
    assert result.exit_code == 2
    assert message in result.stderr


def test_predict_says_what_else_its_table_holds(run: Run, cells: Path, tmp_path: Path) -> None:
    words = ("--model", CLASSICAL_ID, "--out", tmp_path / "out")
    run("predict", cells / "images", *words)
    told = run("predict", cells / "images" / "field0.png", *words).stdout
    table = tmp_path / "out" / "counts.csv"
    assert told.endswith(f"{table}, which also holds 4 images of earlier calls\n")


def test_a_place_where_nothing_can_be_written_is_told_without_the_words_of_the_system(
    run: Run, cells: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    words = ("predict", cells / "images", "--model", CLASSICAL_ID, "--out")
    for out in ("/proc/x", tmp_path / "file"):
        told = run(*words, out)
        assert told.exit_code == 2
        assert f"{out} cannot be a folder (" in told.stderr
    picture = ("--picture", "/proc/x/worth.png", "--model", CLASSICAL_ID)
    told = run("evaluate", *truth_in(cells), *picture)
    assert "/proc/x: No such file or directory; see to that" in told.stderr
    assert "Errno" not in told.stderr


def test_characters_that_a_terminal_has_not_end_no_command() -> None:
    script = (
        "import typer; from backend.cli.console import Commands, say; "
        "app = typer.Typer(cls=Commands); "
        "app.callback()(lambda: None); "
        "app.command('x')(lambda: (say('✗'), typer.echo('✓ größer 細'))); app()"
    )
    environment = os.environ | {"PYTHONIOENCODING": "latin-1"}
    words = [sys.executable, "-c", script, "x"]
    shown = subprocess.run(words, env=environment, capture_output=True, check=False)
    assert (shown.returncode, shown.stdout.decode("latin-1")) == (0, "+ größer ?\n"), shown.stderr


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


@pytest.mark.parametrize("command", ["train", "evaluate", "predict"])
def test_a_device_that_is_not_there_is_refused_before_anything_is_read(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setattr("backend.cli.options.has_cuda", lambda: False)
    (images := tmp_path / "none").mkdir()
    words = (images, "--out", tmp_path / "out") if command == "predict" else truth_in(images)
    refused = run(command, *words, "--device", "cuda")
    assert refused.exit_code != 0
    assert "no CUDA device for this process: take the device auto or cpu" in refused.stderr


BCCD = Path(os.environ.get("CYTOLOOP_DATA", "/nonexistent")) / "bccd"


@pytest.mark.integration
@pytest.mark.skipif(not BCCD.is_dir(), reason="CYTOLOOP_DATA with the folder bccd is not set")
def test_the_defects_of_real_data_are_told(run: Run, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for number in ("00343", "00013", "00100"):
        name = f"BloodImage_{number}.jpg"
        (images / name).symlink_to(BCCD / "images" / name)
    result = run("evaluate", "--images", images, "--annotations", BCCD / "annotations")
    assert result.exit_code == 0, result.output
    assert "BloodImage_00343.xml: box" in result.stderr
    assert "(181, 329, 181, 329) left out: it has no size" in result.stderr
    assert result.stderr.count("one cell boxed twice?") == 2
    assert "252 annotations left out" in result.stderr
