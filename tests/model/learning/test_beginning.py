from dataclasses import replace

import pytest
import torch

from model.classical.detector import CLASSICAL_ID
from model.config import DetectorConfig
from model.keeping.registry import Registry
from model.keeping.starter import STARTER_ID
from model.labels.examples import DatasetSnapshot
from model.learning.candidate import make_candidate
from tests.model.learning.conftest import PRESET


@pytest.mark.integration
def test_a_candidate_begins_with_the_champion_and_inherits_its_lineage(
    make, registry, candidate, snapshot, cell_images, unexported
):
    champion = candidate
    more = (*cell_images(1, 400, "train", 4, (64, 64)), *snapshot.images)
    detector, training = PRESET
    still = (detector, replace(training, learning_rate=0.0, iterations=1))
    version = make(replace(snapshot, images=more), "next", still, champion=champion)
    assert version.parent == champion.id
    assert set(champion.lineage) < set(version.lineage)
    assert version.detector == champion.detector
    one, other = (registry.load(v.id, "cpu", "torch").detector.module for v in (champion, version))
    assert torch.equal(one.rpn.head.cls_logits.weight, other.rpn.head.cls_logits.weight)


@pytest.mark.integration
@pytest.mark.parametrize("classes", [("Nucleus", "Platelet"), ("Platelet", "Nucleus")])
def test_a_class_that_is_new_leaves_what_is_known_of_the_others(
    make, registry, candidate, snapshot, cell_images, unexported, classes
):
    champion = candidate
    images = (*snapshot.images, *cell_images(1, 500, "train", 2, (64, 64), "Platelet"))
    detector, training = PRESET
    still = (detector, replace(training, learning_rate=0.0, iterations=1))
    version = make(DatasetSnapshot(images, classes), "next", still, champion=champion)
    assert (version.parent, version.classes) == (champion.id, classes)
    before, after = (
        registry.load(v.id, "cpu", "torch").detector.module.roi_heads.box_predictor.cls_score
        for v in (champion, version)
    )
    nucleus = classes.index("Nucleus") + 1
    assert torch.equal(after.weight[[0, nucleus]], before.weight)
    assert torch.equal(after.bias[[0, nucleus]], before.bias)


def stem_of(registry, version):
    return registry.load(version.id, "cpu", "torch").detector.module.backbone.body["0"]


@pytest.mark.integration
def test_the_stem_stays_as_a_starter_had_it_whoever_learns_after(tmp_path, snapshot, unexported):
    registry = Registry(tmp_path / "registry", STARTER_ID)
    champion = registry.get(STARTER_ID)
    for name in ("one", "two"):
        begun = champion
        champion = make_candidate(
            snapshot,
            registry,
            workdir=tmp_path / name,
            recipe=(DetectorConfig(), PRESET[1]),
            device="cpu",
            champion=begun,
            with_report=False,
        )
        before, after = (stem_of(registry, v)[0].weight for v in (begun, champion))
        assert torch.equal(before, after)
        assert champion.course.stem_kept
        assert registry.get(champion.id).course.steps == PRESET[1].iterations


@pytest.mark.integration
def test_the_stem_learns_where_there_was_no_starter(
    make, registry, candidate, snapshot, unexported
):
    version = make(snapshot, champion=candidate, with_report=False)
    assert version.parent == candidate.id
    before, after = (stem_of(registry, v)[0].weight for v in (candidate, version))
    assert not torch.equal(before, after)
    for each in (candidate, version):
        assert not each.course.stem_kept
        assert registry.get(each.id).course.steps == PRESET[1].iterations


@pytest.mark.integration
def test_many_images_teach_all_layers_from_the_starter_too(
    tmp_path, snapshot, monkeypatch, unexported
):
    monkeypatch.setattr(
        "model.learning.beginning._TEACH_ALL_LAYERS", len(snapshot.of_side("train"))
    )
    registry = Registry(tmp_path / "registry", STARTER_ID)
    starter = registry.get(STARTER_ID)
    version = make_candidate(
        snapshot,
        registry,
        workdir=tmp_path / "work",
        recipe=(DetectorConfig(), PRESET[1]),
        device="cpu",
        champion=starter,
        with_report=False,
    )
    before, after = (stem_of(registry, v)[0].weight for v in (starter, version))
    assert not torch.equal(before, after)


@pytest.mark.integration
def test_a_champion_of_another_architecture_is_no_start(make, candidate, snapshot, unexported):
    champion = candidate
    detector, training = PRESET
    other = replace(detector, backbone="mbs8_64")
    without = replace(training, imagenet="never")
    version = make(snapshot, "next", (other, without), champion=champion)
    assert version.parent is None
    why = f"{champion.id} is of another architecture than is trained"
    assert version.notes == (f"begun from nothing, since {why}",)


@pytest.mark.integration
def test_a_preset_keeps_its_own_anchors_and_scale_whatever_it_begins_with(
    make, candidate, snapshot, unexported
):
    champion = candidate
    detector, training = PRESET
    chosen = replace(
        detector, anchor_sizes=(11.0, 14.0, 17.0, 21.0), scale=champion.detector.scale * 1.1
    )
    version = make(snapshot, "next", (chosen, training), champion=champion)
    assert (version.parent, version.detector) == (champion.id, chosen)


@pytest.mark.integration
def test_the_classical_champion_is_no_start(candidate, registry):
    assert registry.champion("7").id == CLASSICAL_ID
    assert candidate.parent is None
