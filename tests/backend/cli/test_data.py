from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import Result

from backend.datasets.label_config import label_config_of
from backend.labelstudio.annotation import Annotation
from backend.labelstudio.interface import LabellingInterface
from backend.labelstudio.results import to_regions
from backend.running.lock import hold
from backend.services import build_services
from backend.settings import Settings
from backend.store.predictions import StoredPrediction
from model.boxes import Box
from model.versions import GateDecision
from tests.backend.conftest import no_room
from tests.backend.judged import judged_in, report_of

Run = Callable[..., Result]
CONFIG = label_config_of(("Nucleus",))


@pytest.fixture
def corrected(home: Path, cells: Path) -> None:
    """A project with one corrected image."""
    services = build_services(Settings(home=home))
    services.projects.ensure(1, "proj1", CONFIG)
    sha256 = services.images.keep((cells / "images" / "field0.png").read_bytes())
    services.images.add(1, sha256, 0, "field0.png", 160, 128)
    services.images.attach_task(1, sha256, 0, 5)
    interface = LabellingInterface.parse(CONFIG)
    regions = to_regions([Box(1, 2, 30, 40, "Nucleus")], 160, 128, interface)
    now = datetime.now(UTC)
    services.annotations.record(Annotation(9, 1, 5, tuple(regions), now, now))
    services.engine.dispose()


@pytest.mark.usefixtures("corrected")
def test_boxes_and_counts_are_exported(run: Run, tmp_path: Path) -> None:
    voc = run("export", "voc", "--out", tmp_path / "voc")
    assert voc.exit_code == 0, voc.output
    assert "1 image, 1 box" in voc.stdout
    assert (tmp_path / "voc" / "images" / "field0.png").is_file()
    boxes = run("export", "csv", "--out", tmp_path / "boxes.csv")
    assert boxes.exit_code == 0, boxes.output
    line = (tmp_path / "boxes.csv").read_text().splitlines()[1]
    assert line == "field0.png,160,128,Nucleus,1,2,30,40"
    counts = run("export", "counts", "--out", tmp_path / "counts.csv", "--project", 1)
    assert counts.exit_code == 0, counts.output
    assert "field0.png,Nucleus,corrected,1," in (tmp_path / "counts.csv").read_text()
    assert counts.stdout.startswith("1 image, 1 box: ")


@pytest.mark.usefixtures("corrected")
@pytest.mark.parametrize("what", ["counts", "csv", "voc"])
def test_an_export_replaces_a_file_only_when_it_is_told_to(
    run: Run, tmp_path: Path, what: str
) -> None:
    out = tmp_path / ("boxes.zip" if what == "voc" else "raw.jpg")
    out.write_bytes(b"dear to somebody")
    refused = run("export", what, "--out", out)
    assert refused.exit_code == 2
    assert f"{out} is there already: name another file, or add --replace." in refused.stderr
    assert out.read_bytes() == b"dear to somebody"
    assert run("export", what, "--out", out, "--replace").exit_code == 0
    assert out.read_bytes() != b"dear to somebody"


@pytest.mark.usefixtures("corrected")
def test_images_without_a_count_are_told_from_those_that_have_one(
    run: Run, home: Path, tmp_path: Path
) -> None:
    services = build_services(Settings(home=home))
    for number in range(2):
        services.images.add(1, f"{number}" * 64, 0, f"new{number}.png", 160, 128)
        services.images.attach_task(1, f"{number}" * 64, 0, 6 + number)
    services.engine.dispose()
    counts = run("export", "counts", "--out", tmp_path / "counts.csv")
    assert counts.stdout.startswith("1 of 3 images with a count, 1 box: ")
    assert "gave it boxes: new0.png, new1.png; `cytoloop predict`" in counts.stderr
    voc = run("export", "voc", "--predictions", "--out", tmp_path / "voc")
    assert voc.stdout.startswith("1 image, 1 box: ")
    assert "gave it boxes: new0.png, new1.png; `cytoloop predict`" in voc.stderr


@pytest.mark.usefixtures("corrected")
def test_the_sum_of_what_nobody_corrected_is_told_with_its_range(
    run: Run, home: Path, tmp_path: Path
) -> None:
    services = build_services(Settings(home=home))
    services.images.add(1, "0" * 64, 0, "new.png", 160, 128)
    services.images.attach_task(1, "0" * 64, 0, 6)
    services.predictions.put(StoredPrediction(1, 6, "0" * 64, 0, "v1+0.5", ()))
    report = report_of(((3, 3),) * 9, "Nucleus")
    judged_in(services, 1, GateDecision(False, ("worse",), report, report), "v1")
    services.engine.dispose()
    counts = run("export", "counts", "--out", tmp_path / "counts.csv")
    told = "In 1 predicted image together (95 %, v1): 0 to 0 Nucleus, 0 found, by 9 held-out images"
    assert counts.stdout.splitlines()[1:] == [told]


@pytest.mark.usefixtures("corrected")
def test_counts_are_taken_out_from_a_home_on_a_full_disk(run: Run, tmp_path: Path) -> None:
    with no_room():
        counts = run("export", "counts", "--out", tmp_path / "counts.csv")
        effort, status = run("effort"), run("status")
    assert "1 image, 1 box" in counts.stdout
    assert "field0.png,Nucleus,corrected,1," in (tmp_path / "counts.csv").read_text()
    assert effort.stdout.startswith("Project 1")
    assert "corrected  1 image" in status.stdout


@pytest.mark.usefixtures("corrected")
def test_what_only_reads_needs_no_room(run: Run) -> None:
    with no_room():
        project, labels = run("project"), run("labels", "check")
    assert project.stdout.startswith("Project 1: proj1")
    assert labels.stdout.endswith("1 labelled image, 1 box: none looks wrong\n")


@pytest.mark.usefixtures("corrected")
def test_what_only_reads_needs_no_right_to_write_in_the_home(run: Run, home: Path) -> None:
    with hold(home, "", ""):
        pass
    for path in (home, *home.rglob("*")):
        path.chmod(0o500 if path.is_dir() else 0o400)
    try:
        if os.access(home, os.W_OK):
            pytest.skip("root may write all")
        for words in (("status",), ("project",), ("labels", "check"), ("effort",)):
            result = run(*words)
            assert result.exit_code == 0, result.output
    finally:
        for path in (home, *home.rglob("*")):
            path.chmod(0o700)


def test_a_home_that_may_not_be_looked_into_is_told_with_what_to_do(run: Run, home: Path) -> None:
    home.mkdir(mode=0)
    try:
        if os.access(home, os.R_OK):
            pytest.skip("root may read all")
        found, refused = run("doctor"), run("models", "list")
    finally:
        home.chmod(0o700)
    assert found.exit_code == 1
    for told in (found.stdout, refused.stderr):
        assert f"{home} cannot be looked into (Permission denied): make it yours" in told


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--pages", "second"), "not one of 'first', 'all'"),
        (("--classes", "Nucleus"), "from-annotations"),
        ((), "There is no project yet"),
    ],
)
def test_an_import_that_cannot_be_is_told(
    run: Run, home: Path, cells: Path, words: tuple[str, ...], message: str
) -> None:
    home.mkdir()
    result = run("import", cells / "images", *words)
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.usefixtures("corrected")
def test_an_import_while_label_studio_is_away_is_told(
    run: Run, cells: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CYTOLOOP_LABEL_STUDIO_URL", "http://127.0.0.1:9")
    result = run("import", cells / "images")
    assert result.exit_code == 2
    assert "127.0.0.1:9 could not be reached" in result.stderr
    assert "started by `make run` or `cytoloop up`" in result.stderr
