"""A version's folder: written whole or not at all, and read with everything checked."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from model.atomic import new_folder, write_json
from model.boxes import CELL
from model.config import DetectorConfig
from model.devices import has_cuda
from model.errors import BrokenVersion
from model.looking.loaded import LoadedVersion
from model.rcnn.detecting import Detector
from model.versions import GateDecision, ModelVersion
from preprocessing.errors import GroupsError
from preprocessing.groups import ContrastGroups
from preprocessing.hashing import sha256_of

WEIGHTS = "weights.safetensors"
EXPORTED = "model.onnx"
GROUPS = "groups.npz"
DESCRIPTION = "version.json"
#: What runs a detector: ``"auto"`` is onnxruntime on a CPU where the version has an exported file.
Engine = Literal["auto", "torch", "onnx"]


def write_version(
    target: Path,
    version: ModelVersion,
    groups: ContrastGroups,
    weights: Path | None,
    exported: Path | None = None,
) -> None:
    """Write a version's folder, whole or not at all; see ``Registry.add``."""
    with new_folder(target) as folder:
        for file, name in ((weights, WEIGHTS), (exported, EXPORTED)):
            if file is not None:
                shutil.copyfile(file, folder / name)
        groups.save(folder / GROUPS)
        hashes = {file.name: sha256_of(file) for file in sorted(folder.iterdir())}
        write_json(folder / DESCRIPTION, {**version.to_json(), "files": hashes})


def read_version(folder: Path) -> ModelVersion:
    """Read a version's description.

    Raises
    ------
    BrokenVersion
        When its ``version.json`` cannot be read, or is of a version of another name.
    """
    return _read(folder)[0]


def add_decision(folder: Path, decision: GateDecision) -> ModelVersion:
    """Write a decision, and the report it saw, into a version's description."""
    version, hashes = _read(folder)
    report = decision.candidate or version.report
    decided = replace(version, decision=decision, report=report)
    write_json(folder / DESCRIPTION, {**decided.to_json(), "files": hashes})
    return decided


def load_version(folder: Path, device: str = "auto", engine: Engine = "auto") -> LoadedVersion:
    """Load a version, its contrast groups and its detector; see ``Registry.load``."""
    version, hashes = _read(folder)
    _check_files(folder, hashes)
    try:
        groups = ContrastGroups.load(folder / GROUPS)
    except GroupsError as error:
        raise _broken(folder, error) from error
    load = _load_exported if _is_onnx(engine, device, EXPORTED in hashes) else _load_torch
    return LoadedVersion(version, groups, load(folder, version, device))


def _read(folder: Path) -> tuple[ModelVersion, dict[str, str]]:
    try:
        values: dict[str, Any] = json.loads((folder / DESCRIPTION).read_text("utf-8"))
        hashes = {name: str(sha256) for name, sha256 in values.pop("files").items()}
        version = ModelVersion.from_json(values)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise _broken(folder, error) from error
    if version.id != folder.name:
        raise _broken(folder, f"its folder is of {version.id}, copied or renamed")
    return version, hashes


def _is_onnx(engine: Engine, device: str, is_exported: bool) -> bool:
    if engine == "auto":
        return is_exported and (device == "cpu" or (device == "auto" and not _uses_cuda()))
    return engine == "onnx"


def _uses_cuda() -> bool:
    """Tell whether PyTorch would choose CUDA; a driver that is too old for it is no use."""
    if not has_cuda():
        return False
    from model.rcnn.detector import pick_device  # torch, which a machine without CUDA never needs

    return pick_device().type == "cuda"


def _load_torch(folder: Path, version: ModelVersion, device: str) -> Detector:
    from model.rcnn.detector import load_detector  # torch, which the web process may never need

    config, classes = _config(folder, version), _classes(version)
    return load_detector(folder / WEIGHTS, config, classes, device).folded()


def _load_exported(folder: Path, version: ModelVersion, device: str) -> Detector:
    from model.rcnn.engine import OnnxDetector

    return OnnxDetector(folder / EXPORTED, _config(folder, version), _classes(version))


def _classes(version: ModelVersion) -> tuple[str, ...]:
    return version.classes or (CELL,)


def _config(folder: Path, version: ModelVersion) -> DetectorConfig:
    if version.detector is None:
        raise _broken(folder, "it names no detector")
    return version.detector


def _check_files(folder: Path, hashes: dict[str, str]) -> None:
    for name, expected in hashes.items():
        path = folder / name
        if not path.is_file():
            raise _broken(folder, f"{name} is missing")
        if sha256_of(path) != expected:
            raise _broken(folder, f"{name} is not the file that was added")


def _broken(folder: Path, why: object) -> BrokenVersion:
    return BrokenVersion(
        f"version {folder.name} is broken ({why}). If a newer Cytoloop made it, install that one; "
        f"else restore {folder} from a backup or delete it; if it was champion, "
        f"`cytoloop models rollback` returns to the one before"
    )
