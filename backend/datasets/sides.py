"""Which images of a folder teach and which judge, fixed for ever in one file of the home."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from backend.datasets.writing import write_whole
from model.examples import LabelledImage, Side, decide_sides

FILE_NAME = "sides.json"


def with_sides(images: Sequence[LabelledImage], manifest: Path) -> list[LabelledImage]:
    """Return the images that have a side, each on its own, in order of hash.

    Images that the manifest does not know are decided in order of their hashes, so that the same
    folder gives the same sides anywhere; then they are written to it, so that images added to the
    folder later move none of the others. One or two images more than fives wait (see
    ``model.examples.decide_sides``) and are not returned.

    Parameters
    ----------
    manifest
        A JSON file of hash and side; made when it is missing.
    """
    known: dict[str, Side] = json.loads(manifest.read_text("utf-8")) if manifest.exists() else {}
    new = sorted(image.sha256 for image in images if image.sha256 not in known)
    decided = decide_sides(new, decided=len(images) - len(new))
    sides = known | {sha: side for sha, side in zip(new, decided, strict=True) if side}
    if sides != known:
        write_whole(manifest, json.dumps(sides, indent=1).encode())
    ordered = sorted(images, key=lambda image: image.sha256)
    return [replace(i, side=sides[i.sha256]) for i in ordered if i.sha256 in sides]
