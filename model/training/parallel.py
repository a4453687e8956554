"""One training by several processes, one for each GPU or two on a CPU, that share every batch.

After each batch processes add up what they found (gradients, losses, BatchNorm's statistics), so
that all take the same step. Only the first looks at the inner side, reports and keeps checkpoints.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.distributed as dist
from torch import Tensor

from model.errors import ProcessLost, out_of_memory

_MEETING = "meeting"
_POLL_S = 0.1
#: How long a process may take to end before it is killed.
_END_S = 10.0
#: How long after its connection a process may take to have ended.
_GONE_S = 5.0
#: Processes on a CPU.
_ON_A_CPU = 2
#: Images of a batch that each should have on a CPU: BatchNorm learns little of one.
_FEWEST_EACH = 2
#: Fewer steps are over before another process has loaded torch.
WORTH_STEPS = 100


@dataclass(frozen=True)
class Ranks:
    """The processes of a training, as one of them sees them.

    Parameters
    ----------
    rank
        Its own number; 0 is the process that was asked to train.
    size
        How many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    def device(self, device: torch.device) -> torch.device:
        """Return the device of this process, where ``device`` is what was asked for."""
        one_each = device.type == "cuda" and self.size > 1
        return torch.device("cuda", self.rank) if one_each else device

    def share(self, batch: int) -> range:
        """Return which images of a batch are its own."""
        return range(self.rank * batch // self.size, (self.rank + 1) * batch // self.size)

    def total(self, tensors: Sequence[Tensor]) -> None:
        """Add up each tensor over all processes, in place; all are float32, on one device."""
        if self.size == 1:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        _reduce(flat, dist.ReduceOp.SUM)
        pieces = torch.split(flat, [tensor.numel() for tensor in tensors])
        for tensor, piece in zip(tensors, pieces, strict=True):
            tensor.copy_(piece.view(tensor.shape))

    def most(self, value: int) -> int:
        """Return the largest of the values that the processes give."""
        if self.size == 1:
            return value
        largest = torch.tensor(value)
        _reduce(largest, dist.ReduceOp.MAX)
        return int(largest)

    @contextmanager
    def all_threads(self) -> Iterator[None]:
        """Use the threads of all processes in this one, while the others wait for it."""
        own = torch.get_num_threads()
        torch.set_num_threads(own * self.size)
        try:
            yield
        finally:
            torch.set_num_threads(own)


ALONE = Ranks()


def _reduce(tensor: Tensor, how: dist.ReduceOp.RedOpType) -> None:
    try:
        dist.all_reduce(tensor, how)
    except RuntimeError as error:
        if out_of_memory(error):
            raise
        raise ProcessLost(
            f"the processes that trained together lost each other ({error})"
        ) from error


def processes_for(device: str, batch: int, steps: int) -> int:
    """Return how many processes train soonest.

    One for each CUDA device where the device was left open. Two on a CPU of several threads: each
    of two half as wide takes its half of a batch sooner than all threads together take the whole
    (docs/speed.md).

    Parameters
    ----------
    device
        As ``model.training.train.train`` takes it: ``auto``, ``cpu``, ``cuda`` or one of several,
        such as ``cuda:1``.
    batch
        Images of a step.
    steps
        How many are still to be taken.
    """
    if device in ("auto", "cuda") and torch.cuda.is_available():
        return max(1, min(torch.cuda.device_count(), batch))
    if device in ("auto", "cpu") and steps >= WORTH_STEPS:
        return max(1, min(_ON_A_CPU, torch.get_num_threads(), batch // _FEWEST_EACH))
    return 1


@contextmanager
def accompanied(size: int, work: Callable[[Ranks], None], device: torch.device) -> Iterator[None]:
    """Let other processes do the same work beside this one, and end them with it.

    All share the threads that this one has.

    Parameters
    ----------
    size
        Processes in all, this one included; with 1 none is started.
    work
        What each of the others does; it is pickled.
    device
        What trains, or one of those that do.

    Raises
    ------
    ProcessLost
        When another process ended before this one had finished, or cannot be reached.
    """
    if size == 1:
        yield
        return
    with TemporaryDirectory(prefix="cytoloop-ranks-") as folder:
        others: list[BaseProcess] = []
        threads = torch.get_num_threads()
        torch.set_num_threads(max(1, threads // size))
        try:
            _start(others, size, work, Path(folder), device.type)
            _await(others, Path(folder))
            with _group(Path(folder), Ranks(0, size), device.type):
                yield
            for other in others:  # as far, but for ending its own helpers
                other.join(_END_S)
        except ProcessLost as error:
            if ended := _ended(others, _GONE_S):
                raise ProcessLost(ended) from error
            raise
        finally:
            torch.set_num_threads(threads)
            _end(others)


def _start(
    others: list[BaseProcess], size: int, work: Callable[[Ranks], None], folder: Path, on: str
) -> None:
    """Start the others and add each to the list, so that whatever ends this ends them too."""
    # Spawned: a fork would share a CUDA that was begun already.
    context, threads = get_context("spawn"), torch.get_num_threads()
    for rank in range(1, size):
        given = (Ranks(rank, size), work, folder, on, threads)
        # No daemon: daemons may start no processes, and on a GPU helpers make the batches.
        other = context.Process(target=_join, args=given, daemon=False)
        other.start()
        others.append(other)


def _join(ranks: Ranks, work: Callable[[Ranks], None], folder: Path, on: str, threads: int) -> None:
    """Be one of the others."""
    end_with_the_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the first process
    torch.set_num_threads(threads)
    (folder / str(ranks.rank)).touch()
    with _group(folder, ranks, on):
        work(ranks)


def end_with_the_parent() -> None:
    """Let this process end when the one that started it has, for whatever reason."""
    threading.Thread(target=_end_after_the_parent, daemon=True).start()


def _end_after_the_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _await(others: Sequence[BaseProcess], folder: Path) -> None:
    """Wait until all have started: the group's own timeout for one that never does is long."""
    while not all((folder / str(i + 1)).exists() for i in range(len(others))):
        if ended := _ended(others, 0.0):
            raise ProcessLost(ended)
        time.sleep(_POLL_S)


@contextmanager
def _group(folder: Path, ranks: Ranks, on: str) -> Iterator[None]:
    if sys.platform == "linux":  # all are on this machine; no other needs to reach them
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    if on == "cuda":
        torch.cuda.set_device(ranks.rank % torch.cuda.device_count())
    try:
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if on == "cuda" else "gloo",
            init_method=f"file://{folder / _MEETING}",
            rank=ranks.rank,
            world_size=ranks.size,
        )
    except RuntimeError as error:
        raise ProcessLost(f"processes cannot train together here ({error})") from error
    try:
        yield
    finally:
        dist.destroy_process_group()


def _ended(others: Sequence[BaseProcess], within_s: float) -> str:
    """Say which process ended by a failure, if one did; empty where none has."""
    until = time.monotonic() + within_s
    for rank, other in enumerate(others, 1):
        other.join(max(_POLL_S, until - time.monotonic()))
        if other.exitcode:
            return (
                f"process {rank + 1} of the {len(others) + 1} that trained together ended by itself"
                f" (exit code {other.exitcode}; what it said is in the log)"
            )
    return ""


def _end(others: Sequence[BaseProcess]) -> None:
    for other in others:
        other.terminate()
    for other in others:
        other.join(_END_S)
        if other.is_alive():
            other.kill()
            other.join()
