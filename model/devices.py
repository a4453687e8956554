"""What this machine can compute on, asked without torch."""

from __future__ import annotations

import ctypes

_DRIVER = "libcuda.so.1"


def has_cuda() -> bool:
    """Tell whether there is a CUDA device that this process may use (``CUDA_VISIBLE_DEVICES``)."""
    try:
        driver = ctypes.CDLL(_DRIVER)
    except OSError:
        return False
    count = ctypes.c_int(0)
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return False
    return count.value > 0
