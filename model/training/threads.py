"""How torch's threads wait for each other: quietly, since the machine is not ours alone."""

from __future__ import annotations

import os

WAIT_POLICY = "OMP_WAIT_POLICY"


def wait_quietly() -> None:
    """Let OpenMP's threads sleep at a barrier instead of spinning; call before torch is loaded.

    A thread that spins keeps the processor from the one it waits for: on a machine with other work
    a training step takes many times as long (`python -m benchmarks.threads`). What the environment
    says already stays.
    """
    os.environ.setdefault(WAIT_POLICY, "PASSIVE")
