from __future__ import annotations

import argparse
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks.backbones.__main__ import ALL, LINES, MOST, found, learnings, speeds, steps
from benchmarks.backbones.references import REFERENCES, Torchvision, settle, torchvision_resnet50
from benchmarks.backbones.table import table
from benchmarks.backbones.trials import mosaic
from benchmarks.clock import Pupil
from benchmarks.lines import lines_of
from model.config import DetectorConfig, TrainConfig
from model.keeping.starter import FOLDER
from model.keeping.version_folder import WEIGHTS
from model.labels.examples import DatasetSnapshot
from preprocessing.groups import ContrastGroups
from preprocessing.prepare import Prepared

NONE = ContrastGroups.none()


def prepared(shape: tuple[int, int], level: float = 0.5) -> Prepared:
    return Prepared(np.full(shape, level, np.float32), 1.0, "all", 0.0, (), *shape)


def learned(backbone: str, seed: int, ap50: float) -> dict[str, object]:
    told = {"kind": "learn", "data": "bccd", "backbone": backbone, "seed": seed}
    measured = {"ap50": ap50, "any_class": 0.7, "count_error": 0.05, "weights_bytes": 7_200_000}
    return told | measured | {"minutes": 10.0, "teach": 0, "threads": 1, "steps": 300}


@pytest.fixture
def options(tmp_path: Path) -> argparse.Namespace:
    return argparse.Namespace(
        out=tmp_path, backbones=["small", "large"], sets=["bccd", "usiigaci"], seeds=2,
        minutes=10.0, teach=0, judge=6, threads=1, trained=None,
    )  # fmt: skip


def test_the_table_gives_seeds_ranges_ratios_of_each_image_and_parts_of_a_step() -> None:
    taken = {
        "small": [1.0, 2.0],
        **dict(zip(REFERENCES, ([20.0, 50.0], [30.0] * 2, [35.0] * 2), strict=True)),
    }
    text = table(
        [
            learned("small", 0, 0.8),
            learned("small", 1, 0.9),
            {"kind": "speed", "data": "bccd", "view": "large", "scale": 1.0, "seconds": taken},
            {"kind": "step", "backbone": REFERENCES[0], "learns": ALL, "seconds": [8.0, 9.0, 8.0]},
            {"kind": "step", "backbone": "small", "learns": MOST, "seconds": [0.5, 0.4, 0.6]},
            {"kind": "step", "backbone": "small", "learns": ALL, "seconds": [0.8, 0.8, 1.0]},
        ]
    )
    rows = [row for row in text.splitlines() if "small" in row]
    assert rows[0].split(" | ")[4:] == ["0.850 (0.800–0.900)", "0.700", "5.0%", "7.2 |"]
    assert rows[1].split(" | ")[3:] == ["1.500", "1/22.5", "1/22.5", "1/26.2 |"]
    assert rows[2:] == [
        "| small | but the first | 0.50 | 1/16.0 |",
        "| small | all | 0.80 | 1/10.0 |",
    ]


def test_what_is_done_with_these_very_settings_is_not_done_again(
    options: argparse.Namespace,
) -> None:
    line = learned("small", 0, 0.8)
    (options.out / LINES).write_text(json.dumps(line) + "\n")
    done = [bool(found(key, lines_of(options.out / LINES))) for key, _ in learnings(options)]
    assert done == [True] + [False] * 7
    for name, other in (("minutes", 5.0), ("threads", 2)):
        changed = argparse.Namespace(**{**vars(options), name: other})
        assert not any(found(key, lines_of(options.out / LINES)) for key, _ in learnings(changed))


def test_speed_is_measured_of_the_starter_and_of_all_that_was_learned_together(
    options: argparse.Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [key["backbones"] for key, _ in speeds(options)] == [[]] * 4
    lines = [learned("small", 0, 0.8), learned("large", 0, 0.8), learned("large", 1, 0.8)]
    (options.out / LINES).write_text("".join(json.dumps(line) + "\n" for line in lines))
    keys = [key for key, _ in speeds(options)]
    assert [key["view"] for key in keys] == ["working", "large"] * 2
    assert keys[0]["backbones"] == ["small", "large"]
    assert "trained" not in keys[0]  # so that lines of before are found
    options.trained = "versions/{set}"
    newest = SimpleNamespace(id="trained-2")
    monkeypatch.setattr("benchmarks.backbones.__main__.newest_trained", lambda registry: newest)
    assert [key["trained"] for key, _ in speeds(options)] == ["trained-2"] * 4


def test_a_step_is_measured_with_the_first_layers_kept_where_there_is_a_starter(
    options: argparse.Namespace,
) -> None:
    default = DetectorConfig().backbone
    options.backbones = [default, "large"]
    assert [(key["backbone"], key["learns"]) for key, _ in steps(options)] == [
        (REFERENCES[0], ALL), (default, MOST), (default, ALL), ("large", ALL)
    ]  # fmt: skip


@pytest.mark.integration
@pytest.mark.parametrize("kept", [True, False])
def test_layers_that_are_kept_do_not_learn(kept: bool, tmp_path: Path) -> None:
    config = DetectorConfig(scale=1.0, anchor_sizes=(16.0, 32.0, 64.0, 128.0))
    pupil = Pupil(config, TrainConfig(keep_stem=kept), DatasetSnapshot((), ("N",)), NONE)
    module = pupil.training(tmp_path, "cpu", "it", FOLDER / WEIGHTS).module
    assert all(p.requires_grad for p in module.parameters()) != kept


def test_a_mosaic_is_laid_with_images_of_any_size_side_by_side() -> None:
    laid = mosaic([prepared((30, 40), 0.2), prepared((50, 25), 0.8)], (100, 90))
    assert laid.pixels.shape == (laid.raw_height, laid.raw_width) == (100, 90)
    assert laid.pixels[:30, :40] == pytest.approx(0.2)
    assert laid.pixels[:50, 40:65] == pytest.approx(0.8)
    assert laid.pixels[50:80, 25:65] == pytest.approx(0.2)


@pytest.mark.integration
def test_the_reference_sees_an_image_at_its_own_size_and_as_many_regions_as_it_may() -> None:
    rng = np.random.default_rng(0)
    images = [Prepared(rng.random((96, 128), np.float32), 1.0, "all", 0.0, (), 96, 128)] * 2
    module = settle(torchvision_resnet50(resized=False), images)
    seen: list[tuple[int, ...]] = []
    regions: list[int] = []
    module.backbone.register_forward_hook(lambda m, given, out: seen.append(given[0].shape))
    module.rpn.register_forward_hook(lambda m, given, out: regions.append(len(out[0][0])))
    (detections,) = Torchvision(module).detect(images[:1])
    assert seen == [torch.Size((1, 3, 96, 128))]
    assert regions[0] > 500
    assert np.isfinite(detections.xyxy_px).all()
