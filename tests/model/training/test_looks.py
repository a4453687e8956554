from dataclasses import replace

import numpy as np
import pytest
import torch

from model.boxes import Box
from model.config import DetectorConfig, TrainConfig
from model.labels.examples import DatasetSnapshot, LabelledImage
from model.progress import ignore
from model.rcnn.detector import build
from model.training.data import Examples
from model.training.look_plan import looks_for
from model.training.looks import Look, Looks
from model.training.parallel import Ranks
from model.training.steps import Training
from model.training.train import train
from preprocessing.groups import ContrastGroups

pytestmark = pytest.mark.usefixtures("one_thread")

CLASSES = ("Nucleus",)
#: Learns from nothing within the few steps here, which the default backbone does not. With votes an
#: early look is by chance the clearly better one.
DETECTOR = DetectorConfig(
    backbone="r18_p34_64",
    scale=1.0,
    anchor_sizes=(12.0, 16.0, 20.0, 25.0),
    head_features=32,
    vote_iou=0.0,
)
#: Pays for five looks at one image. By this seed none of them is clearly better than the last.
PLAN = TrainConfig(
    seed=2,
    iterations=16,
    batch=4,
    warmup=2,
    rois_per_image=16,
    rpn_proposals=50,
    imagenet="never",
)
NONE = ContrastGroups.none()


@pytest.fixture(scope="module")
def snapshot(cell_images):
    teach, inner = (
        cell_images(4, shape=(32, 32), cells=1),
        cell_images(4, 90, "inner", 1, (32, 32)),
    )
    return DatasetSnapshot((*teach, *inner), CLASSES)


def looks(snapshot, iterations=16, **options):
    return looks_for(snapshot, NONE, DETECTOR, replace(PLAN, iterations=iterations, **options))


def with_seen(snapshot, *ap50, ap=()):
    seen = [Look(i + 1, *values) for i, values in enumerate(zip(ap50, ap or ap50, strict=True))]
    return Looks(snapshot.images * 20, NONE, CLASSES, DETECTOR, frozenset(), seen)


def test_looks_are_as_many_and_at_as_many_images_as_a_part_of_the_training_pays_for(snapshot):
    few, many = looks(snapshot), looks(snapshot, 100)
    assert (len(few.images), sorted(few.at)) == (1, [3, 6, 10, 13, 16])
    assert (len(many.images), len(many.at)) == (4, 8)
    assert max(many.at) == 100
    assert all(image.side == "inner" for image in many.images)


def test_a_training_too_short_for_looks_keeps_its_schedule(snapshot):
    assert looks(snapshot, 12) is None
    assert looks(snapshot, batch=3) is None


def test_without_an_inner_side_or_a_cell_in_it_the_schedule_is_fixed(snapshot, cell_images):
    teach = snapshot.of_side("train")
    empty = cell_images(2, 90, "inner", 0, (32, 32))
    assert looks(replace(snapshot, images=teach)) is None
    assert looks(replace(snapshot, images=(*teach, *empty)), 100) is None


def test_images_with_cells_are_looked_at_before_those_without(snapshot, cell_images):
    known = max(cell_images(5, 98, "inner", 1, (32, 32)), key=lambda image: image.sha256)
    without = cell_images(5, 90, "inner", 0, (32, 32))
    empty = [image for image in without if image.sha256 < known.sha256]
    assert empty
    images = (*snapshot.of_side("train"), *empty, known)
    assert looks(replace(snapshot, images=images)).images == (known,)


def test_of_images_too_large_to_be_looked_at_often_enough_parts_about_a_cell_are(
    snapshot, cell_images
):
    large = cell_images(6, 95, "inner", 1, (700, 800))
    both = replace(snapshot, images=(*snapshot.of_side("train"), *large))
    few, many = looks(both), looks(both, 30)
    assert (len(few.images), sorted(few.at)) == (1, [3, 6, 10, 13, 16])
    assert (len(many.images), len(many.at)) == (1, 8)
    assert [part.pixels.shape for part in few.parts] == [(320, 320)]
    (box,) = few.images[0].boxes
    about = few.parts[0].pixels[int(box.ymin) : int(box.ymax), int(box.xmin) : int(box.xmax)]
    assert about.mean() > 1.5 * few.parts[0].pixels.mean()
    assert looks(both, 12) is None


def test_an_image_is_looked_at_in_parts_as_a_detector_is_to_see_it(snapshot, cell_images):
    (large,) = cell_images(1, 95, "inner", 1, (350, 400))
    both = replace(snapshot, images=(*snapshot.of_side("train"), large))
    parts = looks_for(both, NONE, replace(DETECTOR, scale=2.0), PLAN)
    (part,), (image,) = parts.parts, parts.images
    (box,), (raw,) = image.boxes, large.boxes
    assert part.pixels.shape == (320, 320)
    assert (box.width, box.height) == pytest.approx((2 * raw.width, 2 * raw.height), rel=0.01)
    about = part.pixels[int(box.ymin) : int(box.ymax), int(box.xmin) : int(box.xmax)]
    assert about.mean() > 1.5 * part.pixels.mean()


def test_a_part_about_the_cell_nearest_to_the_middle_is_labelled_with_its_own_cells_alone(
    snapshot, cell_images
):
    (large,) = cell_images(1, 95, "inner", 20, (700, 800))
    (empty,) = cell_images(1, 96, "inner", 0, (700, 800))
    found = looks(replace(snapshot, images=(*snapshot.of_side("train"), empty, large)), 50)
    (part, other), (image, without) = found.parts, found.images
    assert 0 < len(image.boxes) < len(large.boxes)
    for box in image.boxes:
        assert 0 <= box.xmin < box.xmax <= 320
        about = part.pixels[int(box.ymin) : int(box.ymax), int(box.xmin) : int(box.xmax)]
        assert about.mean() > 1.5 * part.pixels.mean()
    nearest, seen = (
        min(boxes, key=lambda b: np.hypot(b.xmin + b.xmax - width, b.ymin + b.ymax - height))
        for boxes, width, height in ((large.boxes, 800, 700), (image.boxes, 320, 320))
    )
    assert (seen.width, seen.height) == (nearest.width, nearest.height)
    assert (seen.xmin + seen.xmax) / 2 == pytest.approx(160, abs=1)
    assert (other.pixels.shape, without.boxes) == ((320, 320), ())


def test_no_more_images_are_read_than_are_needed_to_see_that_none_can_be_paid_for(
    snapshot, cell_images, monkeypatch
):
    large = cell_images(4, 95, "inner", 1, (700, 800))
    both, read = replace(snapshot, images=(*snapshot.of_side("train"), *large)), []
    as_ever = LabelledImage.read
    monkeypatch.setattr(LabelledImage, "read", lambda self: read.append(self) or as_ever(self))
    assert looks(both, 12) is None
    assert len(read) == 1


@pytest.mark.integration
def test_a_training_looks_at_parts_as_at_whole_images(snapshot, cell_images, tmp_path):
    large = cell_images(1, 95, "inner", 1, (700, 800))
    seen = []
    both = replace(snapshot, images=(*snapshot.of_side("train"), *large))
    run(both, tmp_path, on_progress=seen.append)
    assert [p.iteration for p in seen if p.ap50 is not None][:3] == [3, 6, 10]


def test_it_gains_until_three_looks_in_a_row_brought_nothing(snapshot):
    assert with_seen(snapshot).without_gain_since() is None
    assert with_seen(snapshot, 0.5, 0.5, 0.5).without_gain_since() is None
    assert with_seen(snapshot, 0.5, 0.5, 0.4, 0.505).without_gain_since() == 1
    assert with_seen(snapshot, 0.5, 0.5, 0.4, 0.52).without_gain_since() is None
    assert with_seen(snapshot, 0.3, 0.5, 0.4, 0.5, 0.5).without_gain_since() == 2


def test_a_few_cells_do_not_end_a_training(snapshot):
    no_gain = with_seen(snapshot, 0.5, 0.5, 0.5, 0.5)
    assert no_gain.without_gain_since() == 1
    assert replace(no_gain, images=snapshot.images).without_gain_since() is None


def test_boxes_that_get_tighter_are_a_gain_where_no_more_cells_are_found(snapshot):
    tighter = with_seen(snapshot, 0.8, 0.8, 0.8, 0.8, ap=(0.40, 0.42, 0.44, 0.46))
    assert tighter.without_gain_since() is None


def test_an_earlier_look_must_be_clearly_better_than_the_last(snapshot):
    assert with_seen(snapshot).clearly_better() is None
    assert with_seen(snapshot, 0.54, 0.5).clearly_better() is None
    better = with_seen(snapshot, 0.2, 0.6, 0.5)
    assert better.clearly_better() == Look(2, 0.6, 0.6)
    of_few_cells = replace(better, images=snapshot.images)
    assert of_few_cells.clearly_better() is None


@pytest.mark.parametrize(("rare", "kept"), [(4, False), (20, True)])
def test_a_few_cells_of_a_rare_class_make_no_look_clearly_better(snapshot, rare, kept):
    # Of two classes the mean moves by 0.1 with a fifth of the cells of one.
    boxes = (Box(0, 0, 9, 9, "often"),) * 100 + (Box(9, 9, 20, 20, "rare"),) * rare
    image = replace(snapshot.images[0], boxes=boxes)
    looks = replace(with_seen(snapshot, 0.6, 0.5), images=(image,))
    assert (looks.clearly_better() is not None) == kept


def run(snapshot, workdir, plan=PLAN, notes=(), **options):
    done = train(snapshot, NONE, DETECTOR, plan, workdir=workdir, device="cpu", **options)
    notes += done.notes
    return done.weights


@pytest.fixture(scope="module")
def whole(snapshot, tmp_path_factory):
    """Train to the end; give the weights and what was told."""
    told, notes = [], []
    options = {"on_progress": told.append, "notes": notes}
    weights = run(snapshot, tmp_path_factory.mktemp("whole"), **options)
    assert notes == []  # else its weights are not the last, and those of others differ
    return weights, told


@pytest.mark.integration
def test_a_training_that_gains_nothing_ends_sooner_and_says_so(snapshot, tmp_path):
    seen, notes = [], []
    images = [
        image if image.side == "train" else replace(image, boxes=(Box(0, 0, 2, 2, "Nucleus"),) * 30)
        for image in snapshot.images
    ]
    hopeless = replace(snapshot, images=tuple(images))
    run(hopeless, tmp_path, on_progress=seen.append, notes=notes)
    assert (seen[-1].iteration, seen[-1].iterations, seen[-1].fraction) == (15, 15, 1.0)
    assert notes == [
        "no gain on the inner images since iteration 3: the training ends at 15 instead of 16"
    ]
    assert [p.message for p in seen if p.message] == notes
    assert [p.ap50 is None for p in seen] == [p.iteration < 3 for p in seen]


def killed_and_resumed(snapshot, workdir, **options):
    """Return the weights of a training that was killed at its tenth step, and what was told."""
    told = []

    def die(progress):
        told.append(progress)
        if progress.iteration == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(snapshot, workdir, on_progress=die)
    return run(snapshot, workdir, on_progress=told.append, **options), told


@pytest.mark.integration
def test_a_training_with_looks_that_was_killed_goes_on_as_if_nothing_had_happened(
    snapshot, whole, tmp_path
):
    weights, told = killed_and_resumed(snapshot, tmp_path)
    assert weights.read_bytes() == whole[0].read_bytes()
    assert [(p.iteration, p.ap50) for p in told] == [(p.iteration, p.ap50) for p in whole[1]]


@pytest.mark.integration
def test_looks_change_nothing_of_what_is_learned(snapshot, whole, tmp_path):
    alone = replace(snapshot, images=snapshot.of_side("train"))
    assert run(alone, tmp_path).read_bytes() == whole[0].read_bytes()


def training(snapshot, workdir, looks, **state):
    examples = Examples(snapshot.images, NONE, CLASSES, 1.0)
    module = build(DETECTOR, CLASSES)
    return Training(module, PLAN, examples, torch.device("cpu"), workdir, "", looks, **state)


def test_a_training_that_goes_on_knows_its_end_and_the_best_weights(snapshot, tmp_path):
    best = build(DETECTOR, CLASSES).state_dict()
    seen = replace(with_seen(snapshot, 0.8, 0.5), best=best)
    killed = training(snapshot, tmp_path, seen, iteration=10, cut=12)
    killed.keep()
    resumed = training(snapshot, tmp_path, with_seen(snapshot))
    resumed.resume()
    assert (resumed.iteration, resumed.cut) == (10, 12)
    assert resumed.looks.seen == killed.looks.seen
    assert resumed.looks.best.keys() == best.keys()
    assert all(torch.equal(t, best[name]) for name, t in resumed.looks.best.items())


def test_a_training_that_goes_on_chooses_weights_in_its_first_process_alone(snapshot, tmp_path):
    seen = replace(with_seen(snapshot, 0.8, 0.5), best=build(DETECTOR, CLASSES).state_dict())
    training(snapshot, tmp_path, seen, iteration=PLAN.iterations).keep()
    none = Looks((), NONE, CLASSES, DETECTOR, frozenset())
    other = training(snapshot, tmp_path, none, ranks=Ranks(1, 2))
    other.resume()
    other.go_on(ignore)
    assert (other.iteration, other.looks.seen, other.notes) == (PLAN.iterations, [], [])


class Full(Looks):
    """Looks for which memory runs out from iteration 6 on."""

    def look(self, module, iteration, device):
        if iteration >= 6:
            raise torch.OutOfMemoryError("CUDA out of memory")
        super().look(module, iteration, device)


@pytest.mark.integration
def test_memory_that_runs_out_in_a_look_ends_the_looks_and_not_the_training(
    snapshot, whole, tmp_path, monkeypatch
):
    def full(*plan):
        return Full(**vars(looks_for(*plan)))

    monkeypatch.setattr("model.training.train.looks_for", full)
    notes = []
    weights, told = killed_and_resumed(snapshot, tmp_path, notes=notes)
    assert weights.read_bytes() == whole[0].read_bytes()
    assert notes == [p.message for p in told if p.message]
    (note,) = notes
    assert note.startswith("memory ran out at iteration 6 while the inner images were looked at")


def test_another_error_in_a_look_is_told_as_it_is(snapshot, tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(Looks, "look", fail)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        run(snapshot, tmp_path)


def test_the_weights_of_a_look_that_was_clearly_better_are_kept(snapshot, tmp_path):
    module, good = build(DETECTOR, CLASSES), build(DETECTOR, CLASSES).state_dict()
    seen = replace(with_seen(snapshot, 0.8, 0.5), best=good)
    examples = Examples(snapshot.images, NONE, CLASSES, 1.0)
    done = Training(module, PLAN, examples, torch.device("cpu"), tmp_path, "", seen, iteration=16)
    done.go_on(lambda progress: None)
    assert all(torch.equal(t, good[name]) for name, t in module.state_dict().items())
    assert done.notes == [
        "the weights of iteration 1 were kept: AP50 on the inner images 0.800, 0.500 at the end"
    ]
