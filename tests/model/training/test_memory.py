import platform
import subprocess
import sys

import pytest

CODE = """
import resource, sys
import numpy as np
from model.training.memory import keep_memory
if sys.argv[1] == "kept":
    keep_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        np.ones(8_000_000)  # 64 MB: glibc's own limits never grow so far
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


@pytest.mark.integration
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives memory back so")
def test_memory_that_is_kept_is_not_asked_of_the_kernel_again():
    faults = {
        word: int(subprocess.check_output([sys.executable, "-c", CODE, word]))
        for word in ("kept", "given-back")
    }
    assert faults["kept"] < faults["given-back"] / 10
