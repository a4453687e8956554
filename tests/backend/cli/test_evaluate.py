from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from PIL import Image, ImageColor

from backend.cli.worth import report_text
from backend.datasets.label_config import label_config_of
from backend.datasets.report_figures import LINE
from backend.datasets.voc import read_voc, write_voc
from backend.services import build_services
from backend.settings import Settings
from model.boxes import Box
from model.classical.detector import CLASSICAL_ID
from model.generated.fields import EASY, generate_field
from model.judging.calibration import Calibration
from model.judging.policy import Policy
from model.keeping.registry import Registry
from model.keeping.starter import STARTER_ID
from model.reports import Interval, Intervals
from preprocessing.groups import ContrastGroups
from tests.backend.cli.conftest import Run, truth_in
from tests.backend.judged import report_of
from tests.labelled import with_broken, write_labelled


@pytest.mark.integration
def test_evaluate_judges_the_starter_when_nothing_was_trained(run: Run, cells: Path) -> None:
    words = (*truth_in(cells), "--json")
    result = run("evaluate", *words)
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    assert figures["version"] == STARTER_ID
    files = [cells / "images" / name for name in figures["names"]]
    assert figures["images"] == [sha256(file.read_bytes()).hexdigest() for file in files]
    assert len(files) == 5
    assert figures["count_by_class"] == {"Nucleus": figures["count"]}
    assert figures["seen"] == []
    assert figures["any_class"]["ap50"] > 0.5
    assert set(figures["intervals"].values()) == {None}
    assert figures["by_density"]["under 20 cells"]["images"] == len(figures["counts"]) == 5
    assert "nothing was trained yet" in result.stderr


def test_evaluate_prints_figures_a_person_can_read(run: Run, cells: Path) -> None:
    result = run("evaluate", *truth_in(cells), "--model", CLASSICAL_ID)
    assert "any class         AP50 " in result.stdout
    assert "of 30 true" in result.stdout
    assert "images            5, too few for intervals" in result.stdout
    assert "under 20 cells  5 images: too few to say" in result.stdout
    assert "mAP of the thesis " in result.stdout


@pytest.mark.integration
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


@pytest.mark.integration
def test_evaluate_names_all_images_that_a_version_has_seen_in_its_json_and_the_first_in_a_note(
    run: Run, home: Path, tmp_path: Path
) -> None:
    write_labelled(tmp_path, (generate_field(seed, (64, 64), 1, EASY) for seed in range(7)))
    names = sorted(path.name for path in (tmp_path / "images").iterdir())
    hashes = [sha256((tmp_path / "images" / name).read_bytes()).hexdigest() for name in names]
    registry = Registry(home / "registry")
    seeing = replace(registry.get(STARTER_ID), id="starter-x", lineage=tuple(hashes))
    registry.add(seeing, ContrastGroups.none(), registry.weights(STARTER_ID))
    result = run("evaluate", *truth_in(tmp_path), "--model", seeing.id, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["seen"] == names
    assert f"figures flatter it: {', '.join(names[:5])} and 2 more" in result.stderr


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
    words = (*truth_in(cells), "--model", CLASSICAL_ID)
    result = run("evaluate", *words, "--picture", tmp_path / "new" / "worth.png")
    assert result.exit_code == 0, result.output
    with Image.open(tmp_path / "new" / "worth.png") as drawn:
        assert drawn.width > 900
        assert ImageColor.getrgb(LINE) in {colour for _, colour in drawn.getcolors(1 << 16)}


@pytest.mark.integration
def test_evaluate_tells_how_far_the_probabilities_are_off_that_a_project_is_shown(
    run: Run, home: Path, cells: Path
) -> None:
    services = build_services(Settings(home=home))
    services.projects.ensure(7, "proj", label_config_of(("Nucleus",)))
    words = (*truth_in(cells), "--model", CLASSICAL_ID, "--project", 7)
    assert "probabilities" not in run("evaluate", *words).stdout
    told, version = Policy(0.5, calibration=Calibration(0.5)), services.registry.get(CLASSICAL_ID)
    services.registry.set_policy("7", version, lambda _: told)
    services.engine.dispose()
    assert "of the probabilities shown 0." in run("evaluate", *words).stdout
    figures = json.loads(run("evaluate", *words, "--json").stdout)
    assert figures["calibrated"] != figures["reliability"]


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


def test_a_version_that_is_not_there_is_told_in_one_line(run: Run, cells: Path) -> None:
    result = run("evaluate", *truth_in(cells), "--model", "trained-x")
    assert result.exit_code == 2
    assert "no version trained-x" in result.stderr


def test_the_terminal_says_that_an_interval_is_of_95_percent() -> None:
    sure = Intervals(Interval(0.7, 0.9), Interval(0.6, 0.8), Interval(0.1, 0.25))
    told = report_text(replace(report_of(((5, 5),) * 10), intervals=sure)).splitlines()
    assert told[0] == "images            10"
    assert "(95 %: 0.700 to 0.900)" in told[1]
    assert any(line.startswith("count ") and "(95 %: 10.0% to 25.0%)" in line for line in told)


def test_of_several_classes_the_count_of_each_has_a_line() -> None:
    one = report_of(((3, 4), (5, 4)), "RBC")
    assert "  RBC" not in report_text(one)
    both = replace(one, counts_by_class={**one.counts_by_class, "WBC": ((0, 1), (1, 1))})
    told = report_text(both).splitlines()
    assert "  RBC             8 of 8 true  error 25.0%  bias +0.0%  median 25.0%" in told
    assert "  WBC             1 of 2 true  error 50.0%  bias -50.0%  median 50.0%" in told
