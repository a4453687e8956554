import multiprocessing
from dataclasses import replace
from functools import partial

import pytest
import torch
from safetensors.torch import load_file

from model.config import DetectorConfig, TrainConfig
from model.errors import MemoryTooSmall, ProcessLost
from model.labels.examples import DatasetSnapshot
from model.progress import ignore
from model.rcnn.detector import build
from model.training.data import Examples
from model.training.gradients import gradient
from model.training.parallel import Ranks, _group, processes_for
from model.training.steps import Training
from model.training.train import _Task, train
from preprocessing.groups import ContrastGroups

pytestmark = pytest.mark.usefixtures("one_thread")

CLASSES = ("Nucleus",)
DETECTOR = DetectorConfig(scale=1.0, anchor_sizes=(12.0, 16.0, 20.0, 25.0), head_features=32)
PLAN = TrainConfig(iterations=3, batch=2, warmup=2, rois_per_image=16, rpn_proposals=50)
NONE = ContrastGroups.none()


@pytest.fixture(scope="module")
def snapshot(cell_images):
    return DatasetSnapshot(tuple(cell_images(3, shape=(32, 32), cells=1)), CLASSES)


def test_the_shares_of_a_batch_are_all_of_it_and_nearly_alike():
    for size, batch in [(1, 4), (2, 4), (3, 4), (4, 4), (3, 5)]:
        shares = [Ranks(rank, size).share(batch) for rank in range(size)]
        assert [i for share in shares for i in share] == list(range(batch))
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize(
    ("threads", "batch", "steps", "processes"),
    [(1, 4, 500, 1), (2, 4, 500, 2), (16, 4, 500, 2), (2, 2, 500, 1), (2, 4, 50, 1)],
)
def test_two_processes_train_on_a_cpu_where_there_is_something_to_share(
    monkeypatch, threads, batch, steps, processes
):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert processes_for("auto", batch, steps) == processes_for("cpu", batch, steps) == processes


def test_one_process_trains_on_each_gpu_but_alone_on_one_that_was_chosen(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    assert [processes_for(device, 4, 500) for device in ("auto", "cuda", "cuda:1")] == [4, 4, 1]


def test_memory_that_runs_out_in_another_process_has_run_out_in_this_one(snapshot):
    class Beside(Ranks):
        def most(self, value):
            return 1

    module = build(DETECTOR, CLASSES).train()
    before = {name: buffer.clone() for name, buffer in module.named_buffers()}
    batch = [Examples(snapshot.images, NONE, CLASSES, 1.0)[i] for i in range(2)]
    how = {"batch": 2, "at_once": 2, "seed": 0, "device": torch.device("cpu")}
    with pytest.raises(MemoryError, match="another process"):
        gradient(module, batch[:1], **how, ranks=Beside(0, 2))
    assert all(torch.equal(buffer, before[name]) for name, buffer in module.named_buffers())


def trained_of(snapshot, workdir, plan=PLAN, **options):
    return train(snapshot, NONE, DETECTOR, plan, workdir=workdir, device="cpu", **options)


def run(snapshot, workdir, **options):
    return trained_of(snapshot, workdir, **options).weights


@pytest.fixture(scope="module")
def by_two(snapshot, tmp_path_factory):
    """Train by two processes; give the weights and the losses."""
    losses = []
    folder = tmp_path_factory.mktemp("two")
    told = {"on_progress": lambda progress: losses.append(progress.loss)}
    return run(snapshot, folder, processes=2, **told), losses


@pytest.mark.integration
def test_two_processes_learn_what_one_learns_in_two_parts(snapshot, by_two, tmp_path, monkeypatch):
    monkeypatch.setattr("model.training.train.Training", partial(Training, at_once=1))
    losses = []
    alone = run(snapshot, tmp_path, on_progress=lambda progress: losses.append(progress.loss))
    assert losses == pytest.approx(by_two[1], rel=1e-6)
    one, two = load_file(alone), load_file(by_two[0])
    # The same sums in the same order, statistics of BatchNorm included.
    assert all(torch.allclose(one[name], two[name], rtol=1e-5, atol=1e-6) for name in one)


@pytest.mark.integration
def test_a_training_by_two_that_was_stopped_goes_on_as_if_nothing_had_happened(
    snapshot, by_two, tmp_path, monkeypatch
):
    monkeypatch.setattr("model.training.steps.CHECKPOINT_EVERY", 1)
    monkeypatch.setattr("model.training.steps.REPORT_EVERY", 2)

    def stop(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(snapshot, tmp_path, processes=2, on_progress=stop)
    assert multiprocessing.active_children() == []
    assert run(snapshot, tmp_path, processes=2).read_bytes() == by_two[0].read_bytes()


def test_a_training_that_is_nearly_done_goes_on_alone(snapshot, tmp_path, monkeypatch):
    for setting in ("steps.CHECKPOINT_EVERY", "steps.REPORT_EVERY"):
        monkeypatch.setattr(f"model.training.{setting}", 1)
    monkeypatch.setattr("model.training.parallel.WORTH_STEPS", 2)
    plan = replace(PLAN, batch=4)

    def stop(progress):
        if progress.iteration == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained_of(snapshot, tmp_path, plan, on_progress=stop, processes=1)
    beside = []

    def count(progress):
        beside.append(len(multiprocessing.active_children()))

    with Ranks(0, 2).all_threads():
        trained_of(snapshot, tmp_path, plan, on_progress=count)
    assert beside == [0]


@pytest.mark.integration
def test_a_training_whose_other_process_is_killed_goes_on_alone_and_says_so(
    snapshot, by_two, tmp_path, monkeypatch
):
    monkeypatch.setattr("model.training.steps.CHECKPOINT_EVERY", 1)
    monkeypatch.setattr("model.training.steps.REPORT_EVERY", 1)
    told = []

    def kill(progress):
        told.append((progress.iteration, len(multiprocessing.active_children())))
        for other in multiprocessing.active_children():
            other.kill()

    trained = trained_of(snapshot, tmp_path, processes=2, on_progress=kill)
    assert told == [(1, 1), (2, 0), (3, 0)]
    (note,) = (note for note in trained.notes if "process" in note)
    assert note.startswith("process 2 of the 2 that trained together ended by itself (exit code -9")
    assert note.endswith("went on alone, slower")
    one, two = load_file(trained.weights), load_file(by_two[0])
    assert all(torch.allclose(one[name], two[name], rtol=1e-5, atol=1e-6) for name in one)


@pytest.mark.integration
def test_a_training_whose_other_process_fails_goes_on_alone(snapshot, by_two, tmp_path):
    task = _Task(snapshot, NONE, DETECTOR, PLAN, None, tmp_path, "cpu")
    with pytest.raises(ProcessLost, match=r"process 2 of the 2 .*exit code 1"):
        Failing(**vars(task)).carried_out(2, ignore)
    assert multiprocessing.active_children() == []
    alone = task.carried_out(1, ignore).module.state_dict()
    assert all(torch.isfinite(tensor).all() for tensor in alone.values())


class Failing(_Task):
    """A training whose other process ends by an error after it has joined."""

    def help_with(self, looking_at, ranks):
        raise ValueError("as if an image could not be read")


def test_processes_that_cannot_meet_are_lost(snapshot, tmp_path, monkeypatch):
    def refuse(*args, **options):
        raise RuntimeError("no such interface")

    monkeypatch.setattr("torch.distributed.init_process_group", refuse)
    lost = pytest.raises(ProcessLost, match=r"cannot train together here \(no such interface")
    with lost, _group(tmp_path, Ranks(0, 2), "cpu"):
        pass


@pytest.mark.integration
def test_where_memory_is_too_small_for_two_one_goes_on(snapshot, tmp_path, monkeypatch):
    tried = []

    def too_small(task, size, on_progress, note=""):
        tried.append(size)
        if size > 1:
            raise MemoryTooSmall("the memory ran out")
        return whole(task, size, on_progress, note)

    whole = _Task.carried_out
    monkeypatch.setattr(_Task, "carried_out", too_small)
    notes = trained_of(snapshot, tmp_path, processes=2).notes
    assert tried == [2, 1]
    assert "the memory ran out; the training went on in one process" in notes


def test_a_look_uses_the_threads_of_all_processes():
    own = torch.get_num_threads()
    with Ranks(0, 2).all_threads():
        assert torch.get_num_threads() == 2 * own
    assert torch.get_num_threads() == own
