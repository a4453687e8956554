from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from backend.datasets.sides import with_sides
from backend.errors import BadRequest
from model.generated.fields import HARD, generate_field
from model.labels.examples import LabelledImage
from preprocessing.images import encode_png

Images = Callable[..., list[LabelledImage]]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    """Make images of fields; with ``dimmer`` the same fields at less gain, as other files."""
    folder = tmp_path_factory.mktemp("images")

    @cache
    def one(seed: int, dimmer: int) -> LabelledImage:
        pixels = generate_field(seed, (96, 128), 10, HARD).pixels // (1 + dimmer)
        data = encode_png(pixels.astype(np.uint8))
        path = folder / f"{seed}-{dimmer}.png"
        path.write_bytes(data)
        return LabelledImage(path, sha256(data).hexdigest(), ())

    return lambda count, dimmer=0: [one(seed, dimmer) for seed in range(count)]


def test_the_same_images_get_the_same_sides_anywhere(tmp_path: Path, images: Images) -> None:
    here = with_sides(images(13), tmp_path / "here.json")
    there = with_sides(images(13)[::-1], tmp_path / "there.json")
    assert here == there
    assert Counter(image.side for image in here) == {"train": 10, "held-out": 3}


def test_images_added_later_move_none_of_the_others(tmp_path: Path, images: Images) -> None:
    manifest = tmp_path / "sides.json"
    before = {i.sha256: i.side for i in with_sides(images(10), manifest)}
    after = {i.sha256: i.side for i in with_sides(images(30), manifest)}
    assert len(after) == 30
    assert {sha: after[sha] for sha in before} == before


def test_one_or_two_images_more_wait_and_are_not_returned(tmp_path: Path, images: Images) -> None:
    assert len(with_sides(images(7), tmp_path / "sides.json")) == 5


def test_another_folders_image_of_the_same_field_takes_its_side(
    tmp_path: Path, images: Images
) -> None:
    manifest = tmp_path / "sides.json"
    side_of = {i.path.name: i.side for i in with_sides(images(10), manifest)}
    dimmer = with_sides(images(10, dimmer=1), manifest)
    assert {i.path.name.replace("-1", "-0"): i.side for i in dimmer} == side_of


def test_an_image_between_one_that_teaches_and_one_held_out_teaches(
    tmp_path: Path, images: Images
) -> None:
    manifest, (new,) = tmp_path / "sides.json", images(1)
    fields = {"first": (0x0, "held-out"), "second": (0xFFFF, "train")}  # 16 bits apart
    kept = {
        name: {"fingerprint": f"{code:016x}", "side": side} for name, (code, side) in fields.items()
    }
    between = {"fingerprint": f"{0xFF:016x}", "side": None}
    manifest.write_text(json.dumps(kept | {new.sha256: between}))
    (sided,) = with_sides([new], manifest)
    assert sided.side == "train"


def test_folders_that_have_nothing_alike_do_not_count_for_one_another(
    tmp_path: Path, images: Images
) -> None:
    manifest = tmp_path / "sides.json"
    with_sides(images(25), manifest)
    others = with_sides(images(35)[25:], manifest)
    assert Counter(image.side for image in others) == {"train": 8, "held-out": 2}


def test_sides_that_another_training_decides_meanwhile_are_kept(
    tmp_path: Path, images: Images
) -> None:
    manifest, meanwhile = tmp_path / "sides.json", list[LabelledImage]()

    def train_another(looked_at: int, of: int) -> None:
        if looked_at == 5:
            meanwhile.extend(with_sides(images(15)[10:], manifest))

    with_sides(images(10), manifest, train_another)
    kept = json.loads(manifest.read_text("utf-8"))
    assert len(kept) == 15
    assert {i.sha256: i.side for i in meanwhile}.items() <= {
        sha: value["side"] for sha, value in kept.items()
    }.items()


@pytest.mark.parametrize("broken", ["{", "[1]", '{"a": {"side": "train"}}'])
def test_a_manifest_that_cannot_be_read_says_what_it_was_for(
    tmp_path: Path, images: Images, broken: str
) -> None:
    (tmp_path / "sides.json").write_text(broken)
    with pytest.raises(BadRequest, match=r"sides\.json .*delete it"):
        with_sides(images(6), tmp_path / "sides.json")
