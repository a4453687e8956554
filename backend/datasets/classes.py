"""The classes of annotations, compared with those that a version or a project knows."""

from __future__ import annotations

import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from backend.errors import BadRequest
from model.boxes import Box


def check_classes(
    drawn: Iterable[str], known: Sequence[str], whose: str, or_else: str = ""
) -> None:
    """Raise BadRequest if a drawn class is not known.

    Parameters
    ----------
    whose
        Who knows the classes, such as a version's id.
    or_else
        What the user can do other than rename the class.
    """
    unknown = [label for label in drawn if label not in known]
    if not unknown:
        return
    maps = " ".join(map_option(label, _meant(label, known)) for label in unknown)
    noun, each = ("class", "it") if len(unknown) == 1 else ("classes", "each")
    raise BadRequest(
        f"Unknown {noun} {', '.join(unknown)}: known to {whose} are {', '.join(known) or 'none'}. "
        f"Name a known class for {each} with {maps}{or_else and f', or {or_else}'}."
    )


def notes_on_alike(classes: Sequence[str]) -> list[str]:
    """Return a sentence on each set of classes that differ only in case or blanks.

    Parameters
    ----------
    classes
        Most frequent first: the first of a set is what the others probably mean.
    """
    groups = defaultdict[str, list[str]](list)
    for label in classes:
        groups[_compared(label)].append(label)
    return [
        f"classes {', '.join(group)} differ in case or blanks alone: {len(group)} classes, unless "
        f"joined with {' '.join(map_option(label, group[0]) for label in group[1:])}"
        for group in groups.values()
        if len(group) > 1
    ]


def notes_on_mapping(mapping: Mapping[str, str], drawn: Counter[str]) -> list[str]:
    """Return a sentence on the old class names that no annotation has.

    Parameters
    ----------
    drawn
        The number of boxes of each class in the annotations.
    """
    unused = {old: new for old, new in mapping.items() if old not in drawn}
    if not unused:
        return []
    maps = " ".join(map_option(old, new) for old, new in unused.items())
    known = ", ".join(label for label, _ in drawn.most_common()) or "no class"
    return [f"{maps} renames nothing: the annotations have {known}"]


def classes_of(boxes: Iterable[Box]) -> tuple[str, ...]:
    """Return the classes of the boxes, most frequent first, then by name."""
    counts = Counter(box.label for box in boxes)
    return tuple(sorted(counts, key=lambda label: (-counts[label], label)))


def map_option(old: str, new: str) -> str:
    """Return the option that renames a class, quoted for a shell."""
    runs = [len(run) for name in (old, new) for run in re.findall("=+", name)]
    between = "=" * (max(runs, default=0) + 1)
    if old.endswith("=") or new.startswith("="):
        between = f" {between} "
    return f"--map {shlex.quote(f'{old}{between}{new}')}"


def _meant(label: str, allowed: Sequence[str]) -> str:
    """Return the class that a label probably means; ``CLASS`` if none can be guessed."""
    alike = (each for each in allowed if _compared(each) == _compared(label))
    return next(alike, allowed[0] if len(allowed) == 1 else "CLASS")


def _compared(label: str) -> str:
    return "".join(label.split()).casefold()
