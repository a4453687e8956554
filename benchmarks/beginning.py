"""The versions that benchmarks begin with: starters that have not seen a set, and trained ones."""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.sides import SETS
from benchmarks.starter.examples import DETECTOR
from model.boxes import CELL
from model.keeping.registry import Registry
from model.keeping.starter import STARTER_ID
from model.keeping.version_folder import EXPORTED, WEIGHTS
from model.versions import ModelVersion
from preprocessing.groups import ContrastGroups


def id_of(made: Path) -> str:
    """Return the id of a starter in a registry of its own.

    Other weights make another starter, and so do the same weights in another configuration.

    Parameters
    ----------
    made
        Folder of ``python -m benchmarks.starter --only SET``, such as ``starters/no_bccd``.
    """
    with (made / WEIGHTS).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    digest.update(json.dumps(DETECTOR.to_json(), sort_keys=True).encode())
    return f"starter-without-{digest.hexdigest()[:8]}"


def keep_starter(made: Path, registry: Registry) -> ModelVersion:
    """Keep a starter in a registry; one that is there stays.

    Parameters
    ----------
    made
        Its folder. Its boxes count from the shipped starter's threshold: the mean of three, each
        chosen on the teaching side of one set (``benchmarks.starter.shipping``), so that a third of
        it is this set's own choice.
    """
    kept, own_id = {version.id: version for version in registry.list()}, id_of(made)
    if own_id in kept:
        return kept[own_id]
    from model.rcnn.detector import load_detector
    from model.rcnn.export import export

    learned = load_detector(made / WEIGHTS, DETECTOR, (CELL,), "cpu")
    threshold = registry.get(STARTER_ID).threshold
    version = ModelVersion(own_id, "starter", (), threshold, DETECTOR)
    with tempfile.TemporaryDirectory() as folder:
        export(learned, Path(folder, EXPORTED), [])
        weights, exported = made / WEIGHTS, Path(folder, EXPORTED)
        return registry.add(version, ContrastGroups.none(), weights, exported)


def newest_trained(registry: Registry) -> ModelVersion:
    """Return the version that a registry's last training made."""
    return [version for version in registry.list() if version.kind == "trained"][-1]


def ask_for_versions(parser: argparse.ArgumentParser) -> None:
    """Give a benchmark the options that :func:`versions` reads."""
    parser.add_argument("--starters", help="folders of starters: STARTERS/no_{set}")
    parser.add_argument("--trained", help="registries with a trained version: OUT/versions/{set}")
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)


def versions(options: argparse.Namespace) -> Iterator[tuple[str, Registry, ModelVersion]]:
    """Yield each set's starter, then its newest trained version, with the registry of each."""
    for name in options.sets if options.starters else ():
        with tempfile.TemporaryDirectory() as folder:
            registry = Registry(Path(folder), STARTER_ID)
            yield name, registry, keep_starter(Path(options.starters.format(set=name)), registry)
    for name in options.sets if options.trained else ():
        registry = Registry(Path(options.trained.format(set=name)), STARTER_ID)
        yield name, registry, newest_trained(registry)
