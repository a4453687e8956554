"""A starter that has not seen a set, as a version that a replay or a training begins with."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.starter.examples import DETECTOR
from model.boxes import CELL
from model.registry import Registry
from model.starter import STARTER_ID
from model.version_folder import EXPORTED, WEIGHTS
from model.versions import ModelVersion
from preprocessing.groups import ContrastGroups

#: Its id in a registry of its own.
WITHOUT = "starter-without"


def keep_starter(made: Path, registry: Registry) -> ModelVersion:
    """Keep a starter in a registry; one that is there stays.

    Parameters
    ----------
    made
        Folder of ``python -m benchmarks.starter --only SET``, such as ``starters/no_bccd``. Its
        boxes count from the shipped starter's threshold, which no set chose for itself.
    """
    kept = {version.id: version for version in registry.list()}
    if WITHOUT in kept:
        return kept[WITHOUT]
    from model.detector import load_detector
    from model.export import export

    learned = load_detector(made / WEIGHTS, DETECTOR, (CELL,), "cpu")
    threshold = registry.get(STARTER_ID).threshold
    version = ModelVersion(WITHOUT, "starter", (), threshold, DETECTOR)
    with tempfile.TemporaryDirectory() as folder:
        export(learned, Path(folder, EXPORTED), [])
        weights, exported = made / WEIGHTS, Path(folder, EXPORTED)
        return registry.add(version, ContrastGroups.none(), weights, exported)
