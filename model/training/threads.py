"""How torch's threads wait for each other: quietly, since the machine is not ours alone."""

from __future__ import annotations

import os

WAIT_POLICY, SPINS = "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"
#: Rounds of some nanoseconds in which GNU's OpenMP waits awake before it sleeps. With these few a
#: step takes 0.272 s instead of 0.316 on two idle cores, and 0.490 instead of 0.483 where one is
#: busy (`python -m benchmarks.threads`); with ten times as many it was far longer there.
_AWAKE = 300


def wait_quietly() -> None:
    """Let OpenMP's threads soon sleep at a barrier, not spin; call before torch is loaded.

    A thread that spins keeps the processor from the one it waits for: on a machine with other work
    a training step takes many times as long. What the environment says already stays.
    """
    if WAIT_POLICY not in os.environ:
        os.environ[WAIT_POLICY] = "PASSIVE"
        os.environ.setdefault(SPINS, str(_AWAKE))
