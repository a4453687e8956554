"""What this machine can compute on, asked without torch."""

from __future__ import annotations

import ctypes

_DRIVERS = ("libcuda.so.1", "nvcuda.dll")


def has_cuda() -> bool:
    """Tell whether there is a CUDA device that this process may use (``CUDA_VISIBLE_DEVICES``)."""
    driver = _driver()
    count = ctypes.c_int(0)
    if driver is None or driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return False
    return count.value > 0


def _driver() -> ctypes.CDLL | None:
    for name in _DRIVERS:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None
