import gc
import math
import signal
import weakref
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import model.training.gradients
from model.config import DetectorConfig, TrainConfig
from model.errors import MemoryTooSmall, NothingToLearn, TrainingCancelled, TrainingDiverged
from model.judging.evaluation import evaluate
from model.labels.examples import DatasetSnapshot
from model.rcnn.detector import build, load_detector
from model.rcnn.weights import InitialWeights
from model.training.checkpoints import CHECKPOINT
from model.training.data import Examples
from model.training.parallel import Ranks
from model.training.steps import Training
from model.training.train import _Task, train
from preprocessing.groups import ContrastGroups
from preprocessing.prepare import prepare, rescaled

pytestmark = pytest.mark.usefixtures("one_thread")

CLASSES = ("Nucleus",)
CPU = torch.device("cpu")
DETECTOR = DetectorConfig(scale=1.0, anchor_sizes=(12.0, 16.0, 20.0, 25.0), head_features=32)
SHORT = TrainConfig(iterations=4, batch=1, warmup=2, rois_per_image=16, rpn_proposals=50)
ONCE = replace(SHORT, iterations=1)


@pytest.fixture(scope="module")
def snapshot(cell_images):
    return DatasetSnapshot(tuple(cell_images(2, shape=(64, 64), cells=3)), CLASSES)


def trained(training, snapshot, workdir, start=None, notes=(), **options):
    begun = InitialWeights(start, CLASSES) if start else None
    options = {"start": begun, "workdir": workdir, "device": "cpu"} | options
    done = train(snapshot, ContrastGroups.none(), DETECTOR, training, **options)
    notes += done.notes
    return done.weights


@pytest.fixture
def learn(snapshot, tmp_path):
    def run(training=SHORT, snapshot=snapshot, workdir=tmp_path / "run", start=None, **options):
        return trained(training, snapshot, workdir, start, **options)

    return run


@pytest.fixture(scope="module")
def learned(snapshot, tmp_path_factory):
    """The weights of a short training."""
    return trained(SHORT, snapshot, tmp_path_factory.mktemp("learned"))


def equal(one, other):
    first, second = load_file(one), load_file(other)
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


@pytest.mark.integration
def test_the_same_seed_learns_the_same_weights(learn, learned):
    assert equal(learned, learn())


def test_another_seed_learns_other_weights(learn, learned):
    assert not equal(learned, learn(replace(SHORT, seed=1)))


def test_the_random_state_of_the_caller_is_left_alone(learn):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    learn(ONCE)
    assert torch.equal(torch.rand(1), expected)


def test_a_training_that_was_killed_goes_on_as_if_nothing_had_happened(learn, learned, monkeypatch):
    monkeypatch.setattr("model.training.steps.CHECKPOINT_EVERY", 2)
    monkeypatch.setattr("model.training.steps.REPORT_EVERY", 3)
    seen = []

    def die_once(progress):
        seen.append(progress.iteration)
        if len(seen) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn(on_progress=die_once)
    assert equal(learned, learn(on_progress=die_once))
    assert seen == [3, 3, 4]


@pytest.fixture
def heeds_ctrl_c():
    """Be a process that Ctrl-C ends, however the tests were started."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeds_ctrl_c")
def test_a_training_that_is_told_to_stop_amid_a_step_goes_on_behind_it(learn, learned, monkeypatch):
    steps, gradient = [], Training._gradient

    def interrupted(training, *batch):
        steps.append(training.iteration)
        if len(steps) == 3:
            signal.raise_signal(signal.SIGINT)
        return gradient(training, *batch)

    monkeypatch.setattr(Training, "_gradient", interrupted)
    with pytest.raises(KeyboardInterrupt):
        learn()
    assert equal(learned, learn())
    assert steps == [0, 1, 2, 3]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_training_goes_on_past_the_steps_that_were_planned_at_first(cell_images, tmp_path):
    module = build(DETECTOR, CLASSES, SHORT)
    images = cell_images(2, shape=(64, 64), cells=3)
    examples = Examples(images, ContrastGroups.none(), CLASSES, 1.0)
    run = Training(module, ONCE, examples, CPU, tmp_path, "")
    run.step()
    run.config = SHORT
    assert math.isfinite(run.step())
    assert run.iteration == 2


def test_a_finished_training_called_again_takes_no_step(learn):
    learn(ONCE)
    seen = []
    learn(ONCE, on_progress=seen.append)
    assert seen == []


def test_the_checkpoint_of_another_training_is_not_taken_up(learn):
    learn(ONCE)
    seen = []
    learn(replace(ONCE, learning_rate=1e-4), on_progress=seen.append)
    assert [p.iteration for p in seen] == [1]


def test_progress_tells_iteration_loss_and_fraction(learn, monkeypatch):
    monkeypatch.setattr("model.training.steps.REPORT_EVERY", 3)
    seen = []
    learn(on_progress=seen.append)
    assert [(p.stage, p.iteration, p.iterations) for p in seen] == [
        ("training", 3, 4),
        ("training", 4, 4),
    ]
    assert seen[-1].fraction == 1.0
    assert 0 < seen[-1].loss < 10


def test_a_callback_can_cancel(learn):
    def cancel(progress):
        raise TrainingCancelled("stop")

    with pytest.raises(TrainingCancelled):
        learn(on_progress=cancel)


def test_images_without_cells_are_learned_from_as_negatives(learn, cell_images):
    images = [*cell_images(1, shape=(64, 64)), *cell_images(2, 50, shape=(64, 64), cells=0)]
    assert learn(snapshot=DatasetSnapshot(tuple(images), CLASSES)).is_file()


def test_a_snapshot_without_a_box_to_learn_is_refused(learn, cell_images):
    images = cell_images(1, 70, cells=0)
    with pytest.raises(NothingToLearn, match="has a box of Nucleus: correct"):
        learn(snapshot=DatasetSnapshot(tuple(images), CLASSES))
    with pytest.raises(NothingToLearn, match="has a box: correct"):  # nobody named a class
        learn(snapshot=DatasetSnapshot(tuple(images), ()))


def test_a_loss_that_explodes_at_once_is_an_error_that_says_what_to_do(learn):
    with pytest.raises(TrainingDiverged, match="learning rate below"):
        learn(replace(SHORT, iterations=40, learning_rate=1e30, gradient_clip=0.0))


def test_a_loss_that_explodes_later_keeps_the_last_good_weights(learn, monkeypatch, tmp_path):
    monkeypatch.setattr("model.training.steps.CHECKPOINT_EVERY", 2)
    monkeypatch.setattr(
        "model.training.schedule.share_of_rate", lambda i, config: 1e-3 if i < 3 else 1e33
    )
    seen, notes = [], []
    explosive = replace(SHORT, iterations=9, gradient_clip=0.0)
    path = learn(explosive, on_progress=seen.append, notes=notes)
    assert all(torch.isfinite(t).all() for t in load_file(path).values())
    assert "were kept" in seen[-1].message
    assert notes == [seen[-1].message]
    kept = torch.load(tmp_path / "run" / CHECKPOINT, weights_only=True)
    name = "roi_heads.box_predictor.cls_score.weight"
    assert torch.equal(load_file(path)[name], kept["module"][name])


def test_a_loss_that_explodes_at_the_full_rate_keeps_what_the_warm_up_learned(
    snapshot, monkeypatch, tmp_path
):
    monkeypatch.setattr(
        "model.training.schedule.share_of_rate", lambda i, config: 1e-3 if i < 3 else 1e33
    )
    explosive = replace(SHORT, iterations=9, gradient_clip=0.0)
    done = train(
        snapshot, ContrastGroups.none(), DETECTOR, explosive, workdir=tmp_path, device="cpu"
    )
    assert all(torch.isfinite(t).all() for t in load_file(done.weights).values())
    assert done.notes[0].endswith("the weights of iteration 2 were kept")
    assert done.course.steps == 2  # the checkpoint's, not those until the loss exploded


def test_a_start_from_other_weights_begins_where_they_were(learn, learned):
    still = replace(ONCE, learning_rate=0.0)
    name = next(
        n for n, t in load_file(learned).items() if n.startswith("backbone") and t.ndim == 4
    )
    assert torch.equal(load_file(learned)[name], load_file(learn(still, start=learned))[name])


def stem_of(weights, begins=("backbone.body.0.", "backbone.body.3.")):
    return {name: t for name, t in load_file(weights).items() if name.startswith(begins)}


def test_a_process_that_helps_is_told_when_the_first_looks_and_reads_no_image_for_it(
    snapshot, tmp_path, monkeypatch
):
    begun = []
    monkeypatch.setattr("model.training.train.looks_for", None)
    monkeypatch.setattr("model.training.train.Training.go_on", lambda run, _: begun.append(run))
    task = _Task(snapshot, ContrastGroups.none(), DETECTOR, SHORT, None, tmp_path, "cpu")
    task.help_with(frozenset({2, 4}), Ranks(1, 2))
    assert begun[0].looks.at == {2, 4}
    task.help_with(None, Ranks(1, 2))
    assert begun[1].looks is None


@pytest.mark.parametrize("keep", [True, False])
def test_what_goes_on_from_weights_keeps_their_stem_its_statistics_too_if_it_is_told(
    learn, learned, keep
):
    second = learn(replace(SHORT, keep_stem=keep), start=learned)
    before, after = stem_of(learned), stem_of(second)
    assert any("running_mean" in name for name in before)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert not changed if keep else len(changed) == len(before)
    assert not equal(learned, second)


@pytest.fixture
def memory_for(monkeypatch):
    """Let the allocator refuse, as it does, more images at a time than these."""
    enough = model.training.gradients._loss

    def limit(images, from_part=0):
        parts = []

        def loss(module, part, device):
            parts.append(len(part))
            found = enough(module, part, device)
            if len(part) > images and len(parts) > from_part:
                torch.empty(2**60, dtype=torch.uint8)
            return found

        monkeypatch.setattr("model.training.gradients._loss", loss)
        return parts

    return limit


FOUR = replace(SHORT, batch=4)


@pytest.mark.integration
def test_memory_that_runs_out_halves_what_goes_through_at_a_time(learn, memory_for):
    parts, seen, notes = memory_for(1, from_part=2), [], []
    learn(FOUR, on_progress=seen.append, notes=notes)
    assert parts == [4, 4, 4, 2, *[1] * 8]
    assert [note[:45] for note in notes] == [
        "memory ran out at iteration 2: since then 2 o",
        "memory ran out at iteration 2: since then 1 o",
    ]
    assert [p.message for p in seen if p.message] == notes


@pytest.mark.integration
def test_a_batch_in_parts_that_ran_out_of_memory_is_learned_as_if_it_had_begun_so(
    learn, memory_for, tmp_path, monkeypatch
):
    memory_for(2)
    twice = replace(FOUR, iterations=2)
    halved = learn(twice, workdir=tmp_path / "halved")
    monkeypatch.undo()
    monkeypatch.setattr("model.training.train.Training", partial(Training, at_once=2))
    assert equal(halved, learn(twice, workdir=tmp_path / "begun so"))


@pytest.mark.integration
def test_a_training_killed_after_memory_ran_out_goes_on_with_what_memory_allows(
    learn, memory_for, tmp_path
):
    memory_for(2, from_part=2)
    whole = learn(FOUR, workdir=tmp_path / "whole")
    memory_for(2, from_part=2)

    def die(progress):
        if progress.message:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn(FOUR, workdir=tmp_path / "cut", on_progress=die)
    parts, notes = memory_for(4), []
    assert equal(whole, learn(FOUR, workdir=tmp_path / "cut", notes=notes))
    assert parts == [2] * 4
    assert len(notes) == 1


def test_what_a_failed_attempt_held_is_let_go_before_the_next(learn, monkeypatch):
    enough, held, at_the_next = model.training.gradients._loss, [], []

    def loss(module, part, device):
        at_the_next.extend(reference() is None for reference in held)
        found = enough(module, part, device)
        held.append(weakref.ref(found))
        if len(held) == 1:
            raise MemoryError
        return found

    monkeypatch.setattr("model.training.gradients._loss", loss)
    gc.disable()
    learn(replace(FOUR, iterations=1))
    gc.enable()
    assert at_the_next[0]


def test_memory_too_small_for_one_image_is_an_error_that_says_what_to_do(learn, memory_for):
    memory_for(0)
    with pytest.raises(MemoryTooSmall, match=r"single image.*end other programs.*below 320"):
        learn(FOUR)


def test_a_loss_that_explodes_before_the_first_step_after_memory_ran_out_keeps_nothing(
    learn, memory_for
):
    memory_for(2)
    with pytest.raises(TrainingDiverged, match="before the first checkpoint"):
        learn(replace(FOUR, iterations=40, learning_rate=1e30, gradient_clip=0.0))


def test_an_error_that_is_not_of_memory_is_told_as_it_is(learn, monkeypatch):
    def fail(*_):
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr("model.training.gradients._loss", fail)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        learn()


@pytest.mark.integration
@pytest.mark.parametrize("begin", ["nothing", "other weights"])
def test_every_image_however_old_is_learned_from_again(
    learn, learned, cell_images, tmp_path, monkeypatch, begin
):
    start = learned if begin == "other weights" else None
    images = [*cell_images(5, shape=(64, 64), cells=3)]
    seen = []

    def get(self, index, prepare=Examples.__getitem__):
        seen.append(index)
        return prepare(self, index)

    monkeypatch.setattr(Examples, "__getitem__", get)
    plan = replace(SHORT, iterations=10, batch=1)
    learn(plan, DatasetSnapshot(tuple(images), CLASSES), tmp_path / "next", start)
    assert sorted(seen) == sorted([0, 1, 2, 3, 4] * 2)


@pytest.mark.integration
def test_six_small_images_teach_a_detector_to_find_cells(cell_images, tmp_path):
    snapshot = DatasetSnapshot(tuple(cell_images(6)), CLASSES)
    # It learns the most from nothing in so few steps.
    detector = replace(DETECTOR, backbone="r18_p34_64")
    training = TrainConfig(batch=2, warmup=10, rois_per_image=64, rpn_proposals=100)
    ap50 = {}
    for iterations in (1, 70):
        plan = replace(training, iterations=iterations)
        folder = tmp_path / str(iterations)
        done = train(snapshot, ContrastGroups.none(), detector, plan, workdir=folder, device="cpu")
        ap50[iterations] = _ap50(load_detector(done.weights, detector, CLASSES, "cpu"), cell_images)
    assert ap50[70] > 0.6
    assert ap50[1] < 0.2


def _ap50(detector, cell_images):
    images = cell_images(6, 100, side="held-out")
    prepared = [prepare(image.read(), ContrastGroups.none()) for image in images]
    found = [
        d.moved_to(p.to_raw(d.xyxy_px))
        for d, p in zip(detector.detect(prepared), prepared, strict=True)
    ]
    return evaluate(found, images, CLASSES, 0.5).any_class.ap50


def test_pixels_reach_the_detector_as_serving_sends_them(cell_images):
    """Training keeps float16; the difference must be below one level of 8 bits."""
    (image,), groups = cell_images(1), ContrastGroups.none()
    pixels = rescaled(prepare(image.read(), groups), 0.8).pixels
    (example,) = Examples([image], groups, CLASSES, 0.8)
    np.testing.assert_allclose(example.pixels.astype(np.float32), pixels, rtol=0, atol=0.5 / 255)
