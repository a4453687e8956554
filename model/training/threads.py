"""How torch's threads wait for each other: quietly, since the machine is not ours alone."""

from __future__ import annotations

import os

WAIT_POLICY, SPINS = "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"
#: Rounds of some nanoseconds in which GNU's OpenMP waits awake before it sleeps. With these few a
#: step is a twelfth shorter on an idle machine than with none, and as long on a busy one; with ten
#: times as many it is a fifth shorter and two fifths longer (`python -m benchmarks.threads`).
_AWAKE = 300


def wait_quietly() -> None:
    """Let OpenMP's threads soon sleep at a barrier, not spin; call before torch is loaded.

    A thread that spins keeps the processor from the one it waits for: on a machine with other work
    a training step takes many times as long. What the environment says already stays.
    """
    if WAIT_POLICY not in os.environ:
        os.environ[WAIT_POLICY] = "PASSIVE"
        os.environ.setdefault(SPINS, str(_AWAKE))
