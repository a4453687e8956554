import json
from dataclasses import replace

import pytest

from model.config import CONTRASTS, PRESETS, DetectorConfig, TrainConfig
from model.versions import Course, GateDecision, JudgedImage, ModelVersion


@pytest.mark.parametrize("preset", PRESETS)
def test_a_version_comes_back_from_json_as_it_was(preset, report):
    detector, training = PRESETS[preset]
    judged = report(caps_reached=("detections_per_image",))
    images = (JudgedImage("cc", page=1, stratum="low", began_as="older", is_seen=True),)
    version = ModelVersion(
        id="trained-1",
        kind="trained",
        classes=("RBC", "WBC"),
        threshold=0.4,
        detector=detector,
        training=training,
        project="1",
        parent="classical-1",
        snapshot="ab",
        lineage=("aa", "bb"),
        report=judged,
        decision=GateDecision(True, ("better",), judged, report(ap50=None), images),
        notes=("no ImageNet weights",),
        cell_sides_px=(12.5, 20.0),
        course=Course(360, True),
    )
    assert ModelVersion.from_json(json.loads(json.dumps(version.to_json()))) == version


def test_a_bare_version_comes_back_from_json_as_it_was():
    version = ModelVersion("a", "starter", (), 0.5, decision=GateDecision(False, ("why",)))
    assert ModelVersion.from_json(json.loads(json.dumps(version.to_json()))) == version


@pytest.mark.parametrize("preset", PRESETS)
def test_a_version_is_by_the_recipe_that_trained_it_alone(preset):
    detector, training = PRESETS[preset]
    sizes = detector.anchor_sizes or (12.0, 24.0)
    found = replace(detector, scale=detector.scale or 0.8, anchor_sizes=sizes)
    version = ModelVersion("trained-1", "trained", ("Cell",), 0.5, found, training)
    assert [name for name, recipe in PRESETS.items() if version.is_by(*recipe)] == [preset]
    assert not version.is_by(detector, replace(training, iterations=7))
    assert not ModelVersion("classical-1", "classical", (), 0.5).is_by(detector, training)


def test_a_configuration_from_a_newer_cytoloop_is_refused_by_name():
    values = {**DetectorConfig().to_json(), "attention": True}
    with pytest.raises(ValueError, match="DetectorConfig has no attention"):
        DetectorConfig.from_json(values)


@pytest.mark.parametrize("config", [DetectorConfig(), TrainConfig()])
def test_a_configuration_comes_back_from_json_as_it_was(config):
    assert type(config).from_json(json.loads(json.dumps(config.to_json()))) == config


def test_the_thesis_models_differ_as_its_chapter_five_says():
    anchors = {name: PRESETS[name][0].anchor_sizes for name in ("m03", "m04", "m05", "m06")}
    assert anchors == {"m03": (64, 128, 256), **dict.fromkeys(("m04", "m05", "m06"), (32, 64, 128))}
    contrast = [PRESETS[name][1].contrast for name in ("m04", "m05", "m06")]
    assert contrast == [CONTRASTS[name] for name in ("none", "single", "groups")]
    assert replace(PRESETS["m03"][0], anchor_sizes=(32.0, 64.0, 128.0)) == PRESETS["m04"][0]
