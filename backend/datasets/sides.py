"""Decides which images of a folder teach and which judge, for ever, in one file of the home."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from backend.errors import BadRequest
from model.atomic import locked, write_json
from model.labels.examples import LabelledImage, Side
from model.labels.likeness import fingerprint_of, group_alike
from model.labels.sides import decide_sides

FILE_NAME = "sides.json"


@dataclass(frozen=True)
class _Entry:
    """What is known of one image; ``side`` is None while it waits."""

    side: Side | None
    fingerprint: str


def with_sides(
    images: Sequence[LabelledImage],
    manifest: Path,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[LabelledImage]:
    """Return the images that have a side, each with it, in order of hash.

    Images that the manifest does not know are decided in order of hash, so that the same folder
    gives the same sides anywhere. Then they are written to it, so that images added later move none
    of the others. An image of the same field as an earlier one gets that image's side. One or two
    images beyond full fives wait (see ``model.labels.sides.decide_sides``) and are not returned.

    Parameters
    ----------
    manifest
        A JSON file of hash, side and fingerprint; made if missing.
    on_progress
        Called with the number of images looked at and the number of all.
    """
    ordered = sorted(images, key=lambda image: image.sha256)
    fingerprints = _fingerprints(ordered, _read(manifest), on_progress)
    # Read again: another training may have decided sides while this one looked at images.
    with locked(manifest.with_suffix(".lock")):
        known = _read(manifest)
        entries = known | {
            sha256: replace(known.get(sha256, _Entry(None, "")), fingerprint=fingerprint)
            for sha256, fingerprint in fingerprints.items()
        }
        decided = _decide(entries, set(fingerprints))
        if decided != known:
            write_json(manifest, {sha256: vars(entry) for sha256, entry in decided.items()})
    return [
        replace(image, side=entry.side)
        for image in ordered
        if (entry := decided.get(image.sha256)) and entry.side
    ]


def _read(manifest: Path) -> dict[str, _Entry]:
    if not manifest.exists():
        return {}
    try:
        kept = json.loads(manifest.read_text("utf-8"))
        return {sha256: _Entry(**value) for sha256, value in kept.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadRequest(
            f"{manifest} cannot be read ({error}): it says which images teach and which judge."
            " Bring back a copy, or delete it, and the sides are dealt anew."
        ) from error


def _fingerprints(
    images: Sequence[LabelledImage],
    known: dict[str, _Entry],
    on_progress: Callable[[int, int], None] | None,
) -> dict[str, str]:
    """Return the fingerprint of each image by its hash."""
    fingerprints = {}
    for number, image in enumerate(images):
        if on_progress:
            on_progress(number, len(images))
        entry = known.get(image.sha256)
        fingerprint = entry.fingerprint if entry else ""
        fingerprints[image.sha256] = fingerprint or fingerprint_of(image.read().pixels)
    return fingerprints


def _decide(entries: dict[str, _Entry], folder: set[str]) -> dict[str, _Entry]:
    """Return the entries that have a side now."""
    # As in a project, an image like one that teaches is never held out.
    by_side = sorted(entries.items(), key=lambda one: (not one[1].side, one[1].side == "held-out"))
    entries = dict(by_side)
    grouped = group_alike([entry.fingerprint for entry in entries.values()])
    here = {group for sha256, group in zip(entries, grouped, strict=True) if sha256 in folder}
    # Images of other folders count only if an image of this folder is like them.
    rows = [(s, e, g) for (s, e), g in zip(entries.items(), grouped, strict=True) if g in here]
    sides = decide_sides(
        [s for s, _, _ in rows], [e.side for _, e, _ in rows], [g for *_, g in rows]
    )
    now = entries | {s: replace(e, side=side) for (s, e, _), side in zip(rows, sides, strict=True)}
    return {sha256: entry for sha256, entry in now.items() if entry.side}
