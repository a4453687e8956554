import re
from contextlib import nullcontext
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from torchvision import models
from torchvision.models.detection.rpn import concat_box_prediction_layers
from torchvision.ops import nms

from model.boxes import iou_matrix
from model.config import PRESETS, Backbone, DetectorConfig
from model.errors import BrokenVersion, DamagedWeights, NoSuchDevice
from model.rcnn.anchors import MAPS
from model.rcnn.backbones import (
    _RECIPES,
    VggFeatures,
    build_backbone,
    imagenet_note,
    mixed_precision,
)
from model.rcnn.detector import OwnSize, TorchDetector, build, load_detector, pick_device
from model.rcnn.imagenet import take_imagenet
from model.rcnn.proposals import LIKELY, Alone, propose
from model.rcnn.weights import InitialWeights, save_weights, start_from
from preprocessing.prepare import Prepared

SIZES = {1: (32.0, 64.0, 128.0), 2: (12.0, 20.0, 28.0, 40.0), 5: (16.0, 32.0, 48.0, 64.0, 128.0)}
SMALL = DetectorConfig(scale=1.0, anchor_sizes=SIZES[2])


def config_of(backbone):
    return replace(SMALL, backbone=backbone, anchor_sizes=SIZES[len(MAPS[backbone].strides)])


def prepared(height=96, width=128, seed=0):
    pixels = np.random.default_rng(seed).random((height, width), dtype=np.float32)
    return Prepared(pixels, 1.0, "all", 0.0, (), height, width)


def fresh(config=SMALL, classes=("A", "B"), seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return TorchDetector(build(config, classes), config, classes, "cpu")


def test_every_backbone_that_can_be_chosen_has_maps_and_a_recipe():
    assert set(get_args(Backbone)) == set(MAPS) == set(_RECIPES)


@pytest.mark.parametrize("backbone", sorted(MAPS))
def test_a_backbone_gives_maps_of_its_strides(backbone):
    module = build_backbone(backbone).eval()
    with torch.inference_mode():
        maps = module(torch.zeros(1, 1, 128, 192))
    assert [128 // m.shape[2] for m in maps.values()] == list(MAPS[backbone].strides)
    assert [192 // m.shape[3] for m in maps.values()] == list(MAPS[backbone].strides)
    assert {m.shape[1] for m in maps.values()} == {module.out_channels}


def test_mixed_precision_leaves_anchors_and_boxes_exact(monkeypatch):
    half = torch.autocast("cpu", dtype=torch.bfloat16)
    monkeypatch.setattr("model.rcnn.backbones.mixed_precision", lambda device: half)
    detector = fresh(replace(SMALL, score_floor=0.0))
    maps = detector.module.backbone(torch.zeros(1, 1, 64, 608))
    batch, _ = detector.module.transform([torch.zeros(1, 64, 608)])
    anchors = detector.module.rpn.anchor_generator(batch, list(maps.values()))[0]
    centres = (anchors[:, 0] + anchors[:, 2]) / 2
    assert {m.dtype for m in maps.values()} == {torch.float32}
    assert 600.0 in centres
    assert 584.0 in centres


@pytest.mark.parametrize("by_itself", [True, False])
def test_a_card_that_merely_emulates_bfloat16_works_in_float32(monkeypatch, by_itself):
    def supported(including_emulation=True):
        return by_itself or including_emulation

    monkeypatch.setattr("torch.cuda.is_bf16_supported", supported)
    monkeypatch.setattr("torch.cuda.amp.common.amp_definitely_not_available", lambda: False)
    with mixed_precision(torch.device("cuda")):
        assert torch.is_autocast_enabled("cuda") == by_itself


def test_batch_norm_is_trainable():
    norms = [m for m in build(SMALL, ("A",)).modules() if "BatchNorm" in type(m).__name__]
    assert norms
    assert all(type(m) is torch.nn.BatchNorm2d and m.weight.requires_grad for m in norms)


@pytest.mark.integration
@pytest.mark.parametrize("backbone", sorted(MAPS))
def test_folded_it_has_the_same_maps_without_batch_normalisation(backbone):
    detector = fresh(config_of(backbone))
    as_if_trained(detector.module)
    folded = detector.folded()
    image = torch.rand(1, 1, 64, 96)
    with torch.inference_mode():
        one, other = (each.module.backbone(image) for each in (detector, folded))
    for name, level in one.items():
        torch.testing.assert_close(other[name], level, rtol=1e-3, atol=1e-3 * float(level.std()))
    assert not norms_of(folded.module)
    assert norms_of(detector.module) or backbone == "vgg16"


def as_if_trained(module):
    generator = torch.Generator().manual_seed(0)
    for norm in norms_of(module):
        for values in (norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var):
            values.uniform_(0.5, 1.5, generator=generator)


def norms_of(module):
    return [m for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d)]


def test_the_thesis_models_04_to_06_differ_in_contrast_alone():
    (detector, training), *others = (PRESETS[name] for name in ("m04", "m05", "m06"))
    assert all(other == detector for other, _ in others)
    assert all(replace(its, contrast=training.contrast) == training for _, its in others)


@pytest.mark.integration
@pytest.mark.parametrize("preset", ["m03", "m04"])
def test_the_thesis_models_take_one_training_step(preset):
    config, training = PRESETS[preset]
    module = build(config, ("N",), training).train()
    optimiser = torch.optim.Adam(module.parameters(), lr=training.learning_rate)
    targets = [{"boxes": torch.tensor([[8.0, 8, 72, 72]]), "labels": torch.tensor([1])}]
    before = module.rpn.head.cls_logits.weight.detach().clone()
    losses = module([torch.rand(1, 96, 96)], targets)
    torch.stack(list(losses.values())).sum().backward()
    optimiser.step()
    assert module.rpn.anchor_generator.sizes == (config.anchor_sizes,)
    assert not torch.equal(before, module.rpn.head.cls_logits.weight)


def test_an_image_is_seen_at_its_own_size():
    images, _ = OwnSize()([torch.zeros(1, 70, 50)])
    assert images.tensors.shape == (1, 1, 96, 64)
    assert images.image_sizes == [(70, 50)]


@pytest.mark.parametrize("shape", [(1, 1), (17, 300), (96, 128)])
def test_boxes_lie_inside_the_image_and_scores_descend(shape):
    found = fresh(replace(SMALL, score_floor=0.0)).detect([prepared(*shape)])[0]
    height, width = shape
    assert (found.xyxy_px >= 0).all()
    assert (found.xyxy_px <= [width, height, width, height]).all()
    assert (np.diff(found.scores) <= 0).all()
    assert set(found.labels) <= {0, 1}
    assert found.classes == ("A", "B")


def test_the_images_beside_it_do_not_change_what_is_found_in_an_image():
    detector = fresh(replace(SMALL, rpn_post_nms=50, rpn_crowded=1))
    alone = detector.detect([prepared()])[0]
    among = detector.detect([prepared(200, 300, 1), prepared(), prepared(64, 64, 2)])[1]
    np.testing.assert_array_equal(alone.xyxy_px, among.xyxy_px)
    np.testing.assert_array_equal(alone.scores, among.scores)
    assert len(alone)


def test_no_images_give_no_detections():
    assert fresh().detect([]) == []


def test_the_cap_on_detections_is_told_when_reached_with_the_best_score_that_it_cut():
    config = replace(SMALL, detections_per_image=7, score_floor=0.0)
    found = fresh(config).detect([prepared()])[0]
    every = fresh(replace(SMALL, score_floor=0.0)).detect([prepared()])[0]
    assert len(found) == 7
    assert found.caps_reached["detections_per_image"] == every.scores[7]


def test_a_cap_on_detections_that_cuts_none_is_not_named():
    every = fresh(replace(SMALL, score_floor=0.0)).detect([prepared()])[0]
    config = replace(SMALL, detections_per_image=len(every), score_floor=0.0)
    found = fresh(config).detect([prepared()])[0]
    assert len(found) == len(every)
    assert "detections_per_image" not in found.caps_reached


def test_the_caps_on_proposals_are_told_when_reached():
    config = replace(SMALL, rpn_pre_nms=50, rpn_post_nms=20)
    caps = fresh(config).detect([prepared()])[0].caps_reached
    assert {"rpn_pre_nms", "rpn_post_nms"} <= set(caps)


def test_no_cap_is_told_when_none_is_reached():
    assert fresh().detect([prepared()])[0].caps_reached == {}


def test_no_cap_is_told_when_it_cut_only_what_is_unlikely():
    detector = fresh(replace(SMALL, rpn_pre_nms=50, rpn_post_nms=20))
    with torch.no_grad():
        detector.module.rpn.head.cls_logits.bias.fill_(-2.0)
    assert detector.detect([prepared()])[0].caps_reached == {}


def proposed(**caps):
    """Give the proposals of one image, and whether the cap after NMS cut likely cells."""
    detector = fresh(replace(SMALL, **caps))
    batch, _ = detector.module.transform([torch.from_numpy(prepared().pixels)[None]])
    with torch.inference_mode():
        maps = list(detector.module.backbone(batch.tensors).values())
        limits, floor = torch.tensor([128.0, 96.0]), torch.tensor(detector.config.proposal_floor)
        shape = batch.tensors.shape[-2:]
        boxes, capped = propose(detector.module.rpn, detector.config, maps, shape, limits, floor)
    return boxes, bool(capped[1])


def test_where_more_are_likely_than_are_usually_kept_each_place_still_has_a_proposal():
    every, _ = proposed(proposal_floor=LIKELY)
    kept, is_capped = proposed(rpn_post_nms=20, rpn_crowded=100)
    np.testing.assert_array_equal(kept[:20], every[:20])
    assert 20 < len(kept) < len(every)
    assert (iou_matrix(every.numpy(), kept.numpy()).max(axis=1) > SMALL.nms_iou).all()
    among = iou_matrix(kept[20:].numpy(), kept[20:].numpy())
    assert (among > SMALL.nms_iou).sum() == len(kept) - 20
    assert not is_capped


def test_places_that_a_cap_on_proposals_cuts_are_told():
    for times in (1, 2):
        kept, is_capped = proposed(rpn_post_nms=20, rpn_crowded=times)
        assert len(kept) == 20 * times
        assert is_capped


def test_a_cap_that_cuts_only_proposals_on_others_is_not_told():
    every, _ = proposed(proposal_floor=LIKELY)
    places = len(proposed(rpn_post_nms=len(every) // 2, rpn_crowded=2)[0])
    assert places < len(every)
    assert not proposed(rpn_post_nms=len(every) // 2, rpn_crowded=2)[1]


def test_nms_of_proposals_ends_with_the_last_that_can_be_kept():
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 300, (4000, 2))
    boxes = torch.from_numpy(np.hstack([corners, corners + rng.uniform(10, 30, (4000, 2))]))
    scores = torch.linspace(1, 0, len(boxes), dtype=boxes.dtype)
    whole = nms(boxes, scores, 0.3)
    assert 300 < len(whole) < len(boxes) // 4
    for most in (0, 1, 100, len(whole), len(boxes)):
        assert torch.equal(Alone.apply(boxes, scores, 0.3, torch.tensor(most)), whole[:most])


def test_a_thousand_cells_come_through_the_proposal_caps():
    """With an RPN that sees every cell, each of 1,000 has a proposal in 1280×1024 pixels."""
    truth = _grid_of_cells(1000, np.random.default_rng(0))
    detector = fresh()
    batch, _ = detector.module.transform([torch.zeros(1, 1024, 1280)])
    detector.module.rpn.head = _AllSeeing(detector.module.rpn.anchor_generator, batch, truth)
    features = {"0": torch.zeros(1, 64, 128, 160), "1": torch.zeros(1, 64, 64, 80)}
    limits, floor = torch.tensor([1280.0, 1024.0]), torch.tensor(detector.config.proposal_floor)
    maps, padded = list(features.values()), (1024, 1280)
    boxes, _ = propose(detector.module.rpn, detector.config, maps, padded, limits, floor)
    assert len(boxes) <= detector.config.rpn_crowded * detector.config.rpn_post_nms
    assert (iou_matrix(truth, boxes.numpy()).max(axis=1) > 0.7).mean() == 1.0


@torch.inference_mode()
def test_proposals_are_those_of_torchvision():
    caps = {"rpn_pre_nms": 300, "rpn_post_nms": 100, "rpn_crowded": 1}
    config = replace(SMALL, proposal_floor=0.0, **caps)
    detector = fresh(config)
    rpn = detector.module.rpn
    image = torch.from_numpy(prepared().pixels)
    batch, _ = detector.module.transform([image[None]])
    maps = list(detector.module.backbone(batch.tensors).values())
    objectness, deltas = rpn.head(maps)
    levels = [level[0].numel() for level in objectness]
    scores, deltas = concat_box_prediction_layers(objectness, deltas)
    anchors = rpn.anchor_generator(batch, maps)
    boxes = rpn.box_coder.decode(deltas, anchors).view(1, -1, 4)
    (expected,), _ = rpn.filter_proposals(boxes, scores, batch.image_sizes, levels)
    limits = torch.tensor(batch.image_sizes[0][::-1], dtype=torch.float32)
    padded = batch.tensors.shape[-2:]
    found, _ = propose(rpn, detector.config, maps, padded, limits, torch.tensor(0.0))
    assert len(found) == 100
    assert torch.allclose(found, expected)


class _AllSeeing(torch.nn.Module):
    """An RPN head that scores each anchor by its overlap with a cell, and moves it onto it."""

    def __init__(self, anchor_generator, batch, truth):
        super().__init__()
        self.generator, self.batch, self.truth = anchor_generator, batch, torch.from_numpy(truth)

    def forward(self, features):
        anchors = self.generator(self.batch, features)[0]
        target = self.truth[_slot((anchors[:, :2] + anchors[:, 2:]) / 2)]
        overlap = _overlap(anchors, target)
        logits = torch.where(overlap > 0.3, 4 * overlap, -8.0)
        return self._as_maps(features, logits, _deltas(anchors, target))

    def _as_maps(self, features, logits, deltas):
        objectness, moves, at = [], [], 0
        for level in features:
            height, width = level.shape[2:]
            each = self.generator.num_anchors_per_location()[0]
            part = slice(at, at + height * width * each)
            objectness.append(logits[part].view(1, height, width, each).permute(0, 3, 1, 2))
            moves.append(deltas[part].view(1, height, width, each * 4).permute(0, 3, 1, 2))
            at = part.stop
        return objectness, moves


def _overlap(one, other):
    shared = (torch.min(one[:, 2:], other[:, 2:]) - torch.max(one[:, :2], other[:, :2])).clamp(0)
    areas = [(b[:, 2:] - b[:, :2]).prod(dim=1) for b in (one, other)]
    return shared.prod(dim=1) / (sum(areas) - shared.prod(dim=1))


def _deltas(anchors, target):
    size, goal = anchors[:, 2:] - anchors[:, :2], target[:, 2:] - target[:, :2]
    shift = (target[:, :2] + goal / 2) - (anchors[:, :2] + size / 2)
    return torch.cat([shift / size, torch.log(goal / size)], dim=1)


COLUMNS, SLOT_PX = 40, (32.0, 40.96)


def _slot(centres):
    column, row = (centres / torch.tensor(SLOT_PX)).long().unbind(dim=1)
    return row.clamp(0, 24) * COLUMNS + column.clamp(0, COLUMNS - 1)


def _grid_of_cells(count, rng):
    """Cells of 16 to 32 pixels a side, each anywhere in a slot of its own."""
    side = rng.uniform(16, 32, count)
    places = np.stack([np.arange(count) % COLUMNS, np.arange(count) // COLUMNS], axis=1)
    corner = places * SLOT_PX + rng.uniform(0, 1, (count, 2)) * (SLOT_PX - side[:, None])
    return np.concatenate([corner, corner + side[:, None]], axis=1).astype(np.float32)


def test_a_detector_saved_and_loaded_finds_the_same(tmp_path):
    detector = fresh()
    path = save_weights(detector.module, tmp_path / "weights.safetensors")
    loaded = load_detector(path, SMALL, ("A", "B"), "cpu")
    one, other = detector.detect([prepared()])[0], loaded.detect([prepared()])[0]
    assert len(one) > 0
    np.testing.assert_array_equal(one.xyxy_px, other.xyxy_px)
    assert list(tmp_path.iterdir()) == [path]


def test_missing_truncated_or_foreign_weights_are_a_broken_version(tmp_path):
    path = tmp_path / "weights.safetensors"
    with pytest.raises(BrokenVersion):
        load_detector(path, SMALL, ("A",), "cpu")
    save_weights(build(SMALL, ("A",)), path)
    with pytest.raises(BrokenVersion):
        load_detector(path, SMALL, ("A", "B"), "cpu")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(BrokenVersion):
        load_detector(path, SMALL, ("A",), "cpu")


def test_known_classes_keep_their_weights_and_new_ones_begin_fresh(tmp_path):
    old, new = build(SMALL, ("A", "B")), build(SMALL, ("C", "B"))
    fresh_rows = new.roi_heads.box_predictor.cls_score.weight[1].detach().clone()
    start_from(new, InitialWeights(save_weights(old, tmp_path / "w"), ("A", "B")), ("C", "B"))
    ours, theirs = (m.roi_heads.box_predictor.cls_score.weight for m in (new, old))
    assert torch.equal(ours[0], theirs[0])
    assert torch.equal(ours[1], fresh_rows)
    assert torch.equal(ours[2], theirs[2])
    boxes = [m.roi_heads.box_predictor.bbox_pred.weight.view(3, 4, -1) for m in (new, old)]
    assert torch.equal(boxes[0][2], boxes[1][2])
    assert not torch.equal(boxes[0][1], boxes[1][1])
    assert torch.equal(new.rpn.head.cls_logits.weight, old.rpn.head.cls_logits.weight)


def test_a_start_takes_over_what_fits_and_leaves_the_rest(tmp_path):
    old = build(replace(SMALL, aspect_ratios=(1.0,)), ("A",))
    new = build(SMALL, ("A",))
    own = new.rpn.head.cls_logits.weight.detach().clone()
    taken = start_from(new, InitialWeights(save_weights(old, tmp_path / "w"), ("A",)), ("A",))
    assert taken == len(old.state_dict()) - 4
    assert torch.equal(new.rpn.head.cls_logits.weight, own)


def test_imagenet_weights_that_are_not_in_the_cache_are_done_without(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    caplog.set_level("INFO")
    build_backbone("r18_p34_64", imagenet="cached")
    assert "no ImageNet weights" in caplog.text


def test_a_backbone_that_lacks_imagenet_weights_says_which_file_goes_where(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cache = tmp_path / "hub" / "checkpoints"
    note = imagenet_note("vgg16", "cached")
    assert "random weights" in note
    assert str(cache) in note
    assert imagenet_note("vgg16", "never") == ""
    assert imagenet_note("mbv2_half_64", "cached") == ""
    (name,) = re.findall(r"\S+\.pth", note)
    cache.mkdir(parents=True)
    (cache / name).touch()
    assert imagenet_note("vgg16", "cached") == ""


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"PK\x03\x04 cut off"])
def test_imagenet_weights_that_are_damaged_are_named_with_what_to_do(
    monkeypatch, tmp_path, content
):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cached = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(content)
    with pytest.raises(DamagedWeights, match="delete it") as raised:
        build_backbone("r18_p34_64", imagenet="cached")
    assert str(cached) in str(raised.value)


@pytest.fixture
def resnet18_file(monkeypatch, tmp_path):
    """Where torch's cache has ResNet-18's ImageNet weights."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cached = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    cached.parent.mkdir(parents=True)
    return cached


# ResNet-34 has all layers of ResNet-18, and more.
@pytest.mark.parametrize("other", ["mobilenet_v2", "resnet34", "resnet50"])
def test_imagenet_weights_of_another_network_are_named_with_what_to_do(resnet18_file, other):
    torch.save(models.get_model(other).state_dict(), resnet18_file)
    with pytest.raises(DamagedWeights, match="another network: delete it") as raised:
        build_backbone("r18_p34_64", imagenet="cached")
    assert str(resnet18_file) in str(raised.value)


def test_imagenet_weights_are_taken_from_files_of_before_batchnorm_counted_batches(resnet18_file):
    state = models.resnet18().state_dict()
    counters = [name for name in state if name.endswith("num_batches_tracked")]
    torch.save({n: each for n, each in state.items() if n not in counters}, resnet18_file)
    taken = build_backbone("r18_p34_64", imagenet="cached").body.state_dict()
    assert torch.equal(taken["layer3.1.conv2.weight"], state["layer3.1.conv2.weight"])


def test_of_imagenet_weights_the_classifier_that_a_network_has_not_is_left():
    whole = VggFeatures().state_dict() | {"classifier.0.weight": torch.zeros(2, 2)}
    take_imagenet(net := VggFeatures(), whole, models.VGG16_Weights.DEFAULT)
    assert torch.equal(net.features[28].weight, whole["features.28.weight"])


def test_imagenet_weights_whose_download_breaks_off_are_done_without(monkeypatch, tmp_path, caplog):
    def cut_off(*_, **__):
        raise ConnectionResetError("the network is away")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("model.rcnn.imagenet.urlopen", lambda *_, **__: nullcontext())
    monkeypatch.setattr("torch.hub.urlopen", cut_off)
    caplog.set_level("WARNING")
    build_backbone("r18_p34_64", imagenet="download")
    assert "cannot be downloaded (the network is away)" in caplog.text
    assert "put resnet18-f37072fd.pth" in imagenet_note("r18_p34_64", "download")


@pytest.mark.parametrize(("backbone", "first"), [("mbs8_64", "0.0"), ("r18_p34_64", "conv1")])
def test_imagenet_filters_are_summed_over_the_colours(monkeypatch, tmp_path, backbone, first):
    from torchvision import models

    net = {"mbs8_64": models.mobilenet_v3_large, "r18_p34_64": models.resnet18}[backbone]()
    weights = {
        "mbs8_64": models.MobileNet_V3_Large_Weights.DEFAULT,
        "r18_p34_64": models.ResNet18_Weights.DEFAULT,
    }[backbone]
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(type(weights), "get_state_dict", lambda *_, **__: net.state_dict())
    cached = tmp_path / "hub" / "checkpoints" / weights.url.rsplit("/", 1)[1]
    cached.parent.mkdir(parents=True)
    cached.touch()
    grey = build_backbone(backbone, imagenet="cached").body.get_submodule(first)
    rgb = net.get_submodule(first if first == "conv1" else f"features.{first}")
    assert torch.allclose(grey.weight, rgb.weight.sum(dim=1, keepdim=True))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_where_there_is_none_is_refused_with_what_to_take_instead():
    with pytest.raises(NoSuchDevice, match="auto or cpu"):
        pick_device("cuda")
