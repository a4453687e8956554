from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from backend.cli.options import parse_mapping
from backend.datasets.classes import map_option
from backend.errors import BadRequest
from model.classical.detector import CLASSICAL_ID
from tests.backend.cli.conftest import Run, truth_in


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


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("predict", "", "--out", "out"), "paths"),
        (("predict", ".", "--out", ""), "--out"),
        (("predict", ".", "--out", "out", "--home", ""), "--home"),
        (("train", "--images", "", "--annotations", "."), "--images"),
        (("evaluate", "--images", ".", "--annotations", ""), "--annotations"),
        (("evaluate", "--images", ".", "--annotations", ".", "--picture", ""), "--picture"),
        (("labels", "check", "--images", ""), "--images"),
        (("up", "--images", ""), "--images"),
        (("export", "voc", "--out", ""), "--out"),
        (("export", "csv", "--out", ""), "--out"),
        (("export", "counts", "--out", ""), "--out"),
        (("replay", "--images", ".", "--annotations", "", "--out", "out"), "--annotations"),
        (("replay", "--images", ".", "--annotations", ".", "--out", ""), "--out"),
        (("preprocess", "fit", ""), "folder"),
        (("preprocess", "fit", ".", "--out", ""), "--out"),
        (("preprocess", "apply", ".", "--groups", "", "--out", "out"), "--groups"),
        (("preprocess", "figure", "", "--groups", "groups.npz"), "IMAGE"),
    ],
)
def test_an_empty_path_is_not_the_folder_that_one_is_in(
    run: Run, words: tuple[str, ...], named: str
) -> None:
    refused = run(*words)
    assert refused.exit_code == 2
    assert named in refused.stderr
    assert "it is empty: name a file or a folder" in refused.stderr


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


@pytest.mark.parametrize("pair", ["N", "N=", "=Nucleus", ""])
def test_a_mapping_without_two_names_is_refused(pair: str) -> None:
    with pytest.raises(BadRequest, match="OLD=NEW"):
        parse_mapping([pair])


def test_a_mapping_is_read() -> None:
    read = parse_mapping(["N=Nucleus", " a = b ", "CD4=hi=Nucleus", "CD8==Ki67=pos"])
    assert read == {"N": "Nucleus", "a": "b", "CD4=hi": "Nucleus", "CD8": "Ki67=pos"}


@pytest.mark.parametrize("old", ["N", "R bc", "CD4=hi", "CD4=", "=", "a==b"])
@pytest.mark.parametrize("new", ["Nucleus", "Ki67=pos", "T cell", "=C", "a==b", "=="])
def test_a_mapping_that_a_message_names_is_read_as_it_was_meant(old: str, new: str) -> None:
    assert parse_mapping(shlex.split(map_option(old, new))[1:]) == {old: new}
