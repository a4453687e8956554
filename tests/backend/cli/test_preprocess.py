from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import Result
from PIL import Image

from model.classical.detector import CLASSICAL_ID
from model.generated.fields import EASY, generate_field
from preprocessing.fitting import fit_images
from preprocessing.groups import ContrastGroups
from preprocessing.images import read_image
from preprocessing.prepare import prepare

Run = Callable[..., Result]


@pytest.fixture(scope="session")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Faint and clear fields, 8 and 16 bits, and a file that is no image."""
    folder = tmp_path_factory.mktemp("mixed")
    for seed in range(8):
        pixels = generate_field(seed, (128, 160), 12, EASY).pixels
        faint = (
            100 + np.random.default_rng(seed).normal(0, 6, pixels.shape) + pixels // 12
        ).round()
        Image.fromarray(pixels).save(folder / f"clear{seed}.png")
        Image.fromarray(faint.astype(np.uint8)).save(folder / f"faint{seed}.png")
    tifffile.imwrite(folder / "wide.tif", pixels.astype(np.uint16) * 16)
    (folder / "torn.tif").write_bytes((folder / "wide.tif").read_bytes()[:2000])
    return folder


@pytest.fixture(scope="module")
def fitted(mixed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fitted") / "groups.npz"
    fit_images([read_image(file) for file in sorted(mixed.glob("*.png"))]).save(path)
    return path


@pytest.fixture
def groups(fitted: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(fitted, tmp_path))


def rows_of(table: Path) -> dict[str, dict[str, str]]:
    with table.open(encoding="utf-8", newline="") as lines:
        return {row["image"]: row for row in csv.DictReader(lines)}


def test_fit_writes_groups_and_a_picture_and_names_what_it_could_not_read(
    run: Run, mixed: Path, tmp_path: Path
) -> None:
    result = run("preprocess", "fit", mixed, "--out", tmp_path / "new" / "g.npz")
    assert result.exit_code == 0, result.output
    assert "torn.tif left out" in result.stderr
    groups = ContrastGroups.load(tmp_path / "new" / "g.npz")
    assert len(groups.names) > 1
    said = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert tuple(said) == groups.names
    assert sum(int(words.split()[0]) for words in said.values()) == 17
    with Image.open(tmp_path / "new" / "g.png") as picture:
        assert picture.height > 300 * len(groups.names)
        assert len(picture.getcolors(2**20) or []) > 50


def test_apply_writes_what_a_detector_sees_with_group_distance_and_flags(
    run: Run, mixed: Path, groups: Path, tmp_path: Path
) -> None:
    out = tmp_path / "matched"
    result = run("preprocess", "apply", mixed, "--groups", groups, "--out", out)
    assert result.exit_code == 0, result.output
    assert "torn.tif left out" in result.stderr
    rows = rows_of(out / "contrast.csv")
    assert set(rows) == {p.name for p in mixed.iterdir()}
    torn = rows["torn.tif"]
    assert (torn["matched"], torn["group"], torn["distance"]) == ("", "", "")
    assert torn["flags"].startswith("left out: the file ends before its pixels do")
    assert rows["clear0.png"]["group"] != rows["faint0.png"]["group"]
    for name in ("clear0.png", "wide.tif"):
        seen = prepare(read_image(mixed / name), ContrastGroups.load(groups))
        matched = read_image(out / rows[name]["matched"]).pixels
        assert matched.dtype == np.uint8
        assert np.abs(matched / 255 - seen.pixels).max() <= 0.5 / 255 + 1e-6
        assert rows[name]["group"] == seen.group
        assert float(rows[name]["distance"]) == pytest.approx(seen.distance, abs=1e-4)


@pytest.mark.parametrize("format", ["png", "tiff"])
def test_apply_writes_16_bits_when_asked(
    run: Run, mixed: Path, groups: Path, tmp_path: Path, format: str
) -> None:
    words = ("--groups", groups, "--out", tmp_path / "m", "--bits", 16, "--format", format)
    assert run("preprocess", "apply", mixed, *words).exit_code == 0
    seen = prepare(read_image(mixed / "wide.tif"), ContrastGroups.load(groups))
    matched = read_image(tmp_path / "m" / f"wide.{format}").pixels
    assert matched.dtype == np.uint16
    assert np.abs(matched / 65535 - seen.pixels).max() < 1e-5


def test_a_defocused_image_is_flagged_in_the_table(run: Run, mixed: Path, groups: Path) -> None:
    from skimage.filters import gaussian

    odd = groups.parent / "odd"
    odd.mkdir()
    blurred = gaussian(read_image(mixed / "clear0.png").pixels, 8, preserve_range=True)
    Image.fromarray(blurred.astype(np.uint8)).save(odd / "blurred.png")
    run("preprocess", "apply", odd, "--groups", groups, "--out", groups.parent / "m")
    assert "out-of-focus" in rows_of(groups.parent / "m" / "contrast.csv")["blurred.png"]["flags"]


def test_what_lies_beside_the_images_is_told(run: Run, mixed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "plate2").mkdir(parents=True)
    for name in ("clear0.png", "faint0.png", "plate2/clear1.png"):
        (folder / name).write_bytes((mixed / Path(name).name).read_bytes())
    (folder / "a.webp").touch()
    groups = tmp_path / "groups.npz"
    words = ("--groups", groups, "--out", folder / "matched")
    results = folder / "counted"
    run("predict", mixed / "clear0.png", "--model", CLASSICAL_ID, "--out", results)
    told = (
        run("preprocess", "fit", folder, "--out", groups, "--replace"),
        run("preprocess", "apply", folder, *words),
        run("predict", folder, "--model", CLASSICAL_ID, "--out", tmp_path / "out"),
    )
    for result in told:
        assert result.exit_code == 0, result.output
        assert "Note: 1 other file left out: a.webp\n" in result.stderr
        assert f"Note: 1 folder in {folder} is not looked into: plate2\n" in result.stderr
    assert " in 2 images, 1 other file left out: " in told[-1].stdout


def test_the_first_page_of_several_is_flagged_in_the_table(
    run: Run, groups: Path, tmp_path: Path
) -> None:
    (tmp_path / "stacks").mkdir()
    levels = np.random.default_rng(0).integers(0, 256, (3, 64, 80), np.uint8)
    tifffile.imwrite(tmp_path / "stacks" / "s.tif", levels, photometric="minisblack")
    words = ("--groups", groups, "--out", tmp_path / "out")
    assert run("preprocess", "apply", tmp_path / "stacks", *words).exit_code == 0
    flags = rows_of(tmp_path / "out" / "contrast.csv")["s.tif"]["flags"]
    assert flags.split("; ")[0] == "first of 3 pages"


def test_figure_draws_a_row_for_each_image(run: Run, mixed: Path, groups: Path) -> None:
    out = groups.parent / "figure.png"
    images = [mixed / name for name in ("clear1.png", "faint1.png", "wide.tif")]
    result = run("preprocess", "figure", *images, "--groups", groups, "--out", out)
    assert result.exit_code == 0, result.output
    with Image.open(out) as picture:
        assert picture.height > 3 * 320
        assert picture.width > 4 * 320


def test_every_mode_and_template_can_be_asked_for(run: Run, mixed: Path, tmp_path: Path) -> None:
    path = tmp_path / "g.npz"
    named = mixed / "clear2.png"
    for words in (
        ("--mode", "none"),
        ("--mode", "single", "--template", named),
        ("--mode", "flat", "--template", "medoid", "--strength", 0.5),
        ("--groups", 2, "--gain-limit", 3),
    ):
        result = run("preprocess", "fit", mixed, "--out", path, "--replace", *words)
        assert result.exit_code == 0, result.output
        if words[0] == "--mode":
            assert ContrastGroups.load(path).mode == words[1]
    config = ContrastGroups.load(path).config
    assert (config.groups, config.gain_limit) == (2, 3)


def test_the_named_image_itself_comes_out_only_stretched(
    run: Run, mixed: Path, tmp_path: Path
) -> None:
    path, named = tmp_path / "g.npz", mixed / "clear2.png"
    run("preprocess", "fit", mixed, "--out", path, "--mode", "single", "--template", named)
    image = read_image(named)
    seen = prepare(image, ContrastGroups.load(path)).pixels
    stretched = prepare(image, ContrastGroups.none()).pixels
    assert np.abs(seen - stretched).max() < 1e-6


def test_bad_input_is_one_line_that_says_what_to_do(
    run: Run, mixed: Path, groups: Path, tmp_path: Path
) -> None:
    empty, torn = tmp_path / "empty", tmp_path / "torn"
    for folder in (empty, torn):
        folder.mkdir()
    (torn / "a.png").write_bytes(b"no image")
    out = ("--out", tmp_path / "o")
    cases = {
        "holds no image": ("fit", empty),
        "a.png left out": ("fit", torn),
        "there is no file": ("fit", mixed, "--template", "nobody.png"),
        "gain_limit must be above 0": ("fit", mixed, "--gain-limit", 0),
        "holds files already": ("apply", mixed, "--groups", groups, "--out", mixed),
        "(it is no .npz file): take": ("apply", mixed, "--groups", mixed / "clear0.png", *out),
        "(No such file or directory): take": ("apply", mixed, "--groups", mixed / "a.npz", *out),
        "is a file: give": ("apply", mixed, "--groups", groups, "--out", mixed / "clear0.png"),
        "--bits is 8 or 16": ("apply", mixed, "--groups", groups, *out, "--bits", 12),
        "is no PNG": ("figure", mixed / "clear0.png", "--groups", groups, "--out", "f.jpg"),
        "a folder: name a file": ("figure", mixed / "clear0.png", "--groups", groups, "--out", "."),
        ". is a folder: name": ("fit", mixed, "--out", "."),
        "copy it again": ("figure", mixed / "torn.tif", "--groups", groups),
    }
    for said, words in cases.items():
        result = run("preprocess", *words)
        assert result.exit_code == 2, (said, result.output)
        assert said in result.stderr
        assert "Traceback" not in result.stderr
    assert not (tmp_path / "o").exists()


def test_figure_replaces_no_raw_image(run: Run, mixed: Path, groups: Path, tmp_path: Path) -> None:
    raw = shutil.copy(mixed / "clear0.png", tmp_path / "raw.png")
    result = run("preprocess", "figure", mixed / "clear1.png", "--groups", groups, "--out", raw)
    assert f"would replace {raw}, which Cytoloop did not draw: name another" in result.stderr
    assert raw.read_bytes() == (mixed / "clear0.png").read_bytes()


def test_fit_replaces_groups_only_when_it_is_told_to(run: Run, mixed: Path, groups: Path) -> None:
    before = groups.read_bytes()
    words = ("preprocess", "fit", mixed, "--out", groups, "--groups", 1)
    result = run(*words)
    assert result.exit_code == 2
    assert f"{groups} is there already: name another file, or add --replace." in result.stderr
    assert "Reading" not in result.stderr
    assert groups.read_bytes() == before
    assert run(*words, "--replace").exit_code == 0
    assert groups.read_bytes() != before


@pytest.mark.parametrize("out", ["plate.npz", "plate.png", "groups"])
def test_fit_writes_over_no_image_of_the_user(run: Run, tmp_path: Path, out: str) -> None:
    Image.fromarray(generate_field(0, (64, 64), 4, EASY).pixels).save(tmp_path / "plate.png")
    raw = (tmp_path / "plate.png").read_bytes()
    for before in ([], ["plate.npz"]):
        for name in before:
            (tmp_path / name).touch()
        result = run("preprocess", "fit", tmp_path, "--out", tmp_path / out)
        assert result.exit_code == 2
        told = ("would replace", "is there already: name another", "groups are kept as")
        assert any(words in result.stderr for words in told)
        assert (tmp_path / "plate.png").read_bytes() == raw
        assert {path.name for path in tmp_path.iterdir()} == {"plate.png", *before}


def test_pictures_beside_the_images_are_no_images_of_a_later_call(
    run: Run, mixed: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("clear0.png", "faint0.png"):
        (folder / name).write_bytes((mixed / name).read_bytes())
    groups = folder / "groups.npz"
    words = ("--groups", groups, "--out")
    assert run("preprocess", "fit", folder, "--out", groups).exit_code == 0
    images = folder / "clear0.png", folder / "faint0.png"
    assert run("preprocess", "figure", *images, *words, folder / "figure.png").exit_code == 0
    told = (
        run("preprocess", "fit", folder, "--out", groups, "--replace"),
        run("preprocess", "apply", folder, *words, tmp_path / "matched"),
        run("predict", folder, "--model", CLASSICAL_ID, "--out", tmp_path / "out"),
        run("predict", tmp_path / "matched", "--model", CLASSICAL_ID, "--out", tmp_path / "again"),
    )
    assert [result.exit_code for result in told] == [0] * 4
    for result in told[:3]:
        assert "groups.png left out: a picture that Cytoloop drew\n" in result.stderr
        assert "figure.png left out: a picture that Cytoloop drew\n" in result.stderr
    assert set(rows_of(tmp_path / "matched" / "contrast.csv")) == {p.name for p in images}
    assert " in 2 images, 2 left out, 1 other file left out: " in told[2].stdout
    assert " in 2 images, " in told[3].stdout  # matched images are images
