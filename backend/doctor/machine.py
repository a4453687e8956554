"""The machine: packages, disk, GPU, and the home with its secrets."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from backend.credentials import FILE_NAME
from backend.doctor.findings import Finding, Installation, fail, ok, warn
from backend.misspelt import unknown_variables
from backend.running.redis import LONGEST_SOCKET_PATH
from model.devices import has_cuda

PACKAGE = "cytoloop"
#: Packages whose versions a fault report should name.
NAMED = ("torch", "torchvision", "onnxruntime", "rq", "redis", "sqlalchemy", "label-studio-ml")
GB = 10**9
#: A run of the thesis' presets writes about 0.8 GB (two checkpoints), of which 0.2 GB stay: its
#: version with the exported file. A run of the default preset writes 0.1 and leaves 0.02 GB.
#: Prepared images that do not fit in memory come on top (file sizes of one run each, a script that
#: was not kept).
LEAST_FREE, SCARCE_FREE = 1 * GB, 5 * GB
TRY_CUDA = "import torch; assert torch.cuda.is_available(); print(torch.cuda.get_device_name(0))"
TORCH_S = 120


def packages(installation: Installation) -> Iterator[Finding]:
    """Compare the installed versions with what this package requires."""
    wrong = []
    for line in metadata.requires(PACKAGE) or ():
        needed = Requirement(line)
        if needed.marker is None or needed.marker.evaluate():
            wrong += _wrong(needed)
    if wrong:
        yield fail(
            "Packages",
            "; ".join(wrong),
            "Set the environment up again: make setup, or pip install.",
        )
        return
    named = ", ".join(filter(None, map(_version_of, NAMED)))
    python = ".".join(map(str, sys.version_info[:3]))
    yield ok("Packages", f"{PACKAGE} {metadata.version(PACKAGE)}, Python {python}, {named}")


def _version_of(name: str) -> str:
    """Return a package with its version; empty if it is not installed, such as an extra."""
    try:
        return f"{name} {metadata.version(name)}"
    except metadata.PackageNotFoundError:
        return ""


def settings(installation: Installation) -> Iterator[Finding]:
    """Look for environment variables that are misspelt settings."""
    for said in unknown_variables():
        yield warn("Settings", said, "Correct its name, or unset it.")


def home(installation: Installation) -> Iterator[Finding]:
    """Check that the home can be written to, and that only its owner can read its secrets."""
    folder = installation.settings.home
    if folder.exists() and not folder.is_dir():
        yield fail("Home", f"{folder} is no folder", "Name another: --home or CYTOLOOP_HOME.")
        return
    there = _nearest(folder)
    if not folder.exists() and os.access(there, os.W_OK | os.X_OK):
        yield ok("Home", f"{folder} is not there yet: cytoloop up makes it")
        return
    if not os.access(folder, os.W_OK | os.X_OK):
        yield fail(
            "Home", f"{there} cannot be written to", f"Make it yours: chown or chmod {there}."
        )
    else:
        yield ok("Home", str(folder))
    if not installation.settings.redis_url:
        yield from _socket(installation.settings.redis_socket)
    secrets = folder / FILE_NAME
    if secrets.exists():
        yield from _secrets(folder, secrets)


def _nearest(folder: Path) -> Path:
    """Return the folder, or the nearest parent that exists."""
    return next(parent for parent in (folder, *folder.parents) if parent.exists())


def disk(installation: Installation) -> Iterator[Finding]:
    """Check the free disk space for versions, checkpoints and images."""
    folder = installation.settings.home
    there = _nearest(folder)
    free = shutil.disk_usage(there).free
    says = f"{free / GB:.1f} GB free on the disk of {folder}"
    mend = "Make room: cytoloop models prune removes versions, or move the home (CYTOLOOP_HOME)."
    if free < LEAST_FREE:
        yield fail("Disk", f"{says}: it may be too little for a run", mend)
    elif free < SCARCE_FREE:
        yield warn("Disk", f"{says}: room for a few runs at most", mend)
    else:
        yield ok("Disk", says)


def gpu(installation: Installation) -> Iterator[Finding]:
    """Find out which device a training would run on."""
    wanted = installation.settings.device
    if not has_cuda():
        yield from _without_gpu(wanted)
        return
    tried = _try_cuda()
    if tried is None:
        yield (fail if wanted == "cuda" else warn)(
            "GPU",
            "there is one, but PyTorch cannot use it; trainings run on the CPU",
            "The driver is too old for this PyTorch, or PyTorch was built without CUDA: "
            "update the driver, or install PyTorch for it.",
        )
    else:
        unused = ", unused since CYTOLOOP_DEVICE is cpu" if wanted == "cpu" else ""
        yield ok("GPU", f"{tried}{unused}")


def _without_gpu(wanted: str) -> Iterator[Finding]:
    if wanted == "cuda":
        yield fail(
            "GPU",
            "CYTOLOOP_DEVICE is cuda, but no CUDA device can be used",
            "Look whether nvidia-smi lists one (in a container: start it with the GPU), "
            "or set CYTOLOOP_DEVICE=auto.",
        )
    elif shutil.which("nvidia-smi") and wanted == "auto":
        yield warn(
            "GPU",
            "nvidia-smi is there, but no CUDA device can be used; trainings run on the CPU",
            "Look whether nvidia-smi lists one and CUDA_VISIBLE_DEVICES lets it be seen.",
        )
    else:
        yield ok("GPU", f"none used: trainings run on the CPU ({os.cpu_count()} cores)")


def _try_cuda() -> str | None:
    """Return PyTorch's name of the device; None if PyTorch cannot use it."""
    command = (sys.executable, "-P", "-c", TRY_CUDA)  # a process of its own: torch takes seconds
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=TORCH_S)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip()


def _wrong(needed: Requirement) -> list[str]:
    try:
        have = metadata.version(needed.name)
    except metadata.PackageNotFoundError:
        return [f"{needed.name} is missing"]
    fits = needed.specifier.contains(have, prereleases=True)
    return [] if fits else [f"{needed.name} is {have}, wanted {needed.specifier}"]


def _socket(socket: Path) -> Iterator[Finding]:
    if len(str(socket).encode()) > LONGEST_SOCKET_PATH:
        yield fail(
            "Home",
            f"its path is too long for the socket of Redis ({socket})",
            "Choose a shorter CYTOLOOP_HOME, or a Redis that runs already (CYTOLOOP_REDIS_URL).",
        )


def _secrets(folder: Path, file: Path) -> Iterator[Finding]:
    """Check the folder too: Label Studio keeps its token there in a world-readable file."""
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (folder, file)}
    opened = {p: mode for p, mode in modes.items() if mode & (stat.S_IRWXG | stat.S_IRWXO)}
    for path, mode in opened.items():
        yield warn("Secrets", f"others can read {path} ({mode:o})", f"chmod go= {path}")
    if not opened:
        yield ok("Secrets", f"{folder} and {file.name} are for their owner alone")
