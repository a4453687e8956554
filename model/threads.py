"""How torch's threads wait for each other: quietly, since the machine is not ours alone."""

from __future__ import annotations

import os

WAIT_POLICY, SPINS = "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"
#: Rounds of some nanoseconds in which GNU's OpenMP waits awake before it sleeps: a step is a little
#: shorter on idle cores and hardly longer where one is busy (docs/speed.md); with ten times as many
#: it was far longer there.
_AWAKE = 300


def wait_quietly() -> None:
    """Let OpenMP's threads soon sleep at a barrier, not spin; call before torch is loaded.

    A thread that spins keeps the processor from the one it waits for: on a machine with other work
    a training step takes many times as long. What the environment says already stays.
    """
    if WAIT_POLICY not in os.environ:
        os.environ[WAIT_POLICY] = "PASSIVE"
        os.environ.setdefault(SPINS, str(_AWAKE))
