from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from model.boxes import Detections
from model.config import DetectorConfig, TrainConfig
from model.errors import BrokenVersion, ExportFailed
from model.generated.fields import EASY, HARD, generate_field
from model.labels.examples import DatasetSnapshot
from model.rcnn.anchors import MAPS
from model.rcnn.detector import TorchDetector, build, load_detector
from model.rcnn.engine import FLOOR, INPUT, OnnxDetector, default_threads
from model.rcnn.export import SCORE, export, unpaired
from model.training.train import train
from preprocessing.groups import ContrastGroups
from preprocessing.images import ImageRecord
from preprocessing.prepare import Prepared, prepare

SIZES = {1: (32.0, 64.0), 2: (12.0, 16.0, 20.0, 28.0), 5: (8.0, 16.0, 24.0, 32.0, 48.0)}
CLASSES = ("A", "Nucleus")


def config_of(backbone="r18_p34_64", **fields):
    sizes = SIZES[len(MAPS[backbone].strides)]
    config = DetectorConfig(backbone, sizes, scale=1.0, head_features=32)
    return replace(config, **fields)


def fresh(config, spread=4):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = build(config, CLASSES)
        torch.nn.init.normal_(module.roi_heads.refiner.move.weight, std=spread / 40)
    # Fresh weights score all alike; spread, there are best ones and worst. Too much, and all are 1.
    with torch.no_grad():
        for layer in (module.rpn.head.cls_logits, module.roi_heads.box_predictor.cls_score):
            layer.weight *= spread
    return TorchDetector(module, config, CLASSES, "cpu")


def field(seed, shape, style=EASY):
    image = ImageRecord(generate_field(seed, shape, 20, style).pixels, "00")
    return prepare(image, ContrastGroups.none())


def part_of_field(shape):
    height, width = shape
    pixels = field(1, (200, 200)).pixels[:height, :width]
    return Prepared(pixels, 1.0, "all", 0.0, (), height, width)


@pytest.fixture(scope="module")
def exporting(tmp_path_factory):
    """Export with two samples; give the file, and how many had been asked for at each look."""
    path, asked, looks = tmp_path_factory.mktemp("exported") / "model.onnx", [], []
    detect = TorchDetector.detect

    def looked(self, images):
        looks.extend(len(asked) for _ in images)
        return detect(self, images)

    samples = (asked.append(each) or each for each in map(part_of_field, [(64, 64), (40, 90)]))
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(TorchDetector, "detect", looked)
        export(fresh(config_of()), path, samples)
    return path, looks


@pytest.fixture(scope="module")
def exported_file(exporting):
    return exporting[0]


@pytest.fixture(scope="module")
def pair(exported_file):
    """The same detector in PyTorch and exported."""
    return fresh(config_of()), OnnxDetector(exported_file, config_of(), CLASSES)


def assert_same(detector, exported, images):
    """Assert that both find the same, and return how many boxes that is."""
    pairs = list(zip(detector.detect(images), exported.detect(images), strict=True))
    for one, other in pairs:
        assert len(one) == len(other)
        assert unpaired(one, other) == 0
        assert one.caps_reached == pytest.approx(other.caps_reached, abs=SCORE)
        assert one.classes == other.classes
        assert (np.diff(other.scores) <= 0).all()
    return sum(len(one) for one, _ in pairs)


@pytest.mark.integration
@pytest.mark.parametrize(("backbone", "steps"), [("r18_p34_64", 25), ("mbs8_64", 70)])
def test_after_some_training_the_exported_detector_finds_the_same(
    backbone, steps, cell_images, tmp_path
):
    """MobileNet takes more steps until its running statistics let it find anything."""
    config = config_of(backbone)
    snapshot = DatasetSnapshot(tuple(cell_images(4)), CLASSES)
    training = TrainConfig(iterations=steps, batch=2, crop_px=96, imagenet="never")
    groups = ContrastGroups.none()
    done = train(snapshot, groups, config, training, workdir=tmp_path, device="cpu")
    detector = load_detector(done.weights, config, CLASSES, "cpu")
    images = [
        prepare(image.read(), ContrastGroups.none()) for image in cell_images(3, 20, cells=20)
    ]
    varied = [field(seed, (160, 200), style) for seed in range(2) for style in (EASY, HARD)]
    exported = export(detector, tmp_path / "model.onnx", images[:1])
    assert assert_same(detector, exported, [*images, *varied]) > 30


@pytest.mark.integration
@pytest.mark.parametrize("shape", [(1, 1), (17, 200), (64, 64), (131, 97)])
def test_images_of_any_size_are_taken(pair, shape):
    assert assert_same(*pair, [part_of_field(shape)]) > 0


@pytest.mark.integration
@pytest.mark.parametrize(("backbone", "spread"), [("resnet50_fpn", 1), ("vgg16", 20)])
def test_the_large_backbones_are_exported_too(backbone, spread, tmp_path):
    """ResNet's maps are large when fresh: spread more, all scores would be 1, in no order.

    No cap is reached: which of two proposals of almost one score is the last, rounding decides.
    """
    detector = fresh(config_of(backbone), spread)
    exported = export(detector, tmp_path / "model.onnx", [])
    assert assert_same(detector, exported, [part_of_field((70, 50))]) > 0


@pytest.mark.integration
def test_an_image_without_cells_gives_no_boxes(tmp_path):
    detector = fresh(config_of())
    with torch.no_grad():
        detector.module.rpn.head.cls_logits.bias.fill_(-1000.0)
    exported = export(detector, tmp_path / "model.onnx", [part_of_field((40, 40))])
    (found,) = exported.detect([part_of_field((96, 128))])
    assert found.xyxy_px.shape == (0, 4)
    assert (found.scores.dtype, found.labels.dtype) == (np.float32, np.int64)
    assert found.caps_reached == {}


@pytest.mark.integration
def test_told_to_be_sparing_both_leave_out_the_same_proposals(pair):
    images, floor = [part_of_field((96, 128))], pair[0].config.proposal_floor
    sparing = [each.sparing(0.6) for each in pair]
    assert 0 < assert_same(*sparing, images) < assert_same(*pair, images)
    assert_same(pair[0], sparing[1].sparing(floor), images)


@pytest.mark.integration
def test_no_images_give_no_detections(pair):
    assert pair[1].detect([]) == []


@pytest.mark.integration
def test_the_caps_that_are_reached_are_told(tmp_path):
    narrow = {"rpn_pre_nms": 50, "rpn_post_nms": 20, "detections_per_image": 7}
    detector = fresh(config_of(score_floor=0.0, **narrow))
    exported = export(detector, tmp_path / "model.onnx", [])
    assert assert_same(detector, exported, [part_of_field((96, 128))]) == 7
    (found,) = exported.detect([part_of_field((96, 128))])
    assert set(found.caps_reached) == set(narrow)


@pytest.mark.integration
def test_a_cap_that_cut_only_what_is_unlikely_is_not_told(tmp_path):
    detector = fresh(config_of(rpn_pre_nms=50, rpn_post_nms=20))
    with torch.no_grad():
        detector.module.rpn.head.cls_logits.weight.zero_()
        detector.module.rpn.head.cls_logits.bias.fill_(-2.0)
    exported = export(detector, tmp_path / "model.onnx", [])
    assert exported.detect([part_of_field((96, 128))])[0].caps_reached == {}


@pytest.mark.integration
def test_batch_normalisation_is_folded_and_both_sides_are_free(pair, exported_file):
    graph = onnx.load(exported_file).graph
    norms = [m for m in pair[0].module.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert norms
    assert "BatchNormalization" not in {node.op_type for node in graph.node}
    sides = graph.input[0].type.tensor_type.shape.dim
    assert [side.dim_param for side in sides] == ["height", "width"]


@pytest.mark.integration
def test_nms_of_proposals_ends_with_the_last_that_can_be_kept(exported_file):
    exported = onnx.load(exported_file)
    ends = [n.input[2] for n in exported.graph.node if n.op_type == "NonMaxSuppression"][:2]
    exported.graph.output.extend(onnx.ValueInfoProto(name=name) for name in ends)
    session = onnxruntime.InferenceSession(exported.SerializeToString())
    config = config_of()
    image = part_of_field((96, 128)).pixels
    most = session.run(ends, {INPUT: image, FLOOR: np.array(config.proposal_floor, np.float32)})
    assert np.concatenate(most).tolist() == [config.rpn_post_nms + 1] * 2


@pytest.mark.integration
def test_a_file_that_finds_something_else_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(OnnxDetector, "detect", lambda self, images: [Detections.empty(CLASSES)])
    with pytest.raises(ExportFailed, match="boxes are not those"):
        export(fresh(config_of()), tmp_path / "model.onnx", [part_of_field((64, 64))])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.integration
def test_samples_are_asked_for_one_by_one(exporting):
    assert exporting[1] == [1, 2]


def test_boxes_pair_within_half_a_pixel_and_a_hundredth_in_any_order(detections):
    one = detections([(0, 0, 10, 10, 0.9), (20, 20, 30, 30, 0.9)])
    assert unpaired(one, detections([(20, 20, 30.4, 30, 0.9), (0, 0, 10, 10, 0.895)])) == 0
    assert unpaired(one, detections([(20, 20, 30.6, 30, 0.9), (0, 0, 10, 10, 0.9)])) == 2
    assert unpaired(one, detections([(20, 20, 30, 30, 0.9), (0, 0, 10, 10, 0.88)])) == 2
    assert unpaired(one, detections([(20, 20, 30, 30, 0.9)])) == 1
    assert unpaired(one, Detections.empty(("Nucleus",))) == 2


@pytest.mark.integration
def test_a_missing_truncated_or_foreign_file_is_a_broken_version(exported_file, tmp_path):
    path = tmp_path / "model.onnx"
    with pytest.raises(BrokenVersion, match="holds no exported detector"):
        OnnxDetector(path, config_of(), CLASSES)
    path.write_bytes(exported_file.read_bytes()[:-1])
    with pytest.raises(BrokenVersion, match="holds no exported detector"):
        OnnxDetector(path, config_of(), CLASSES)
    foreign = onnx.load(exported_file)
    foreign.graph.output.pop()
    onnx.save(foreign, path)
    with pytest.raises(BrokenVersion, match="no detector of ours"):
        OnnxDetector(path, config_of(), CLASSES)


def test_a_detector_takes_as_many_threads_as_torch_would(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert default_threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "5, 1")
    assert default_threads() == 5
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert default_threads() >= 1


@pytest.mark.integration
def test_where_all_proposals_are_alike_both_take_the_same_ones(tmp_path):
    """A young RPN tells hardly one place from another, and a cap then cuts in their midst."""
    detector = fresh(config_of(rpn_pre_nms=500, rpn_post_nms=100))
    with torch.no_grad():
        detector.module.rpn.head.cls_logits.weight.zero_()
    exported = export(detector, tmp_path / "model.onnx", [])
    assert assert_same(detector, exported, [part_of_field((96, 128))]) > 0
