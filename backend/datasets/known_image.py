"""One image of a project, what is known of it, and flags for how it is known."""

from __future__ import annotations

from dataclasses import dataclass, replace

from backend.datasets.counts import CountedImage
from backend.labelstudio.results import Unusable
from backend.store.images import StoredImage
from model.labels.label_guard import SetAside

#: Flag of an image that annotators skipped and nobody corrected: it shows no cells, or is blurred.
SKIPPED = "skipped"
#: Flags of boxes that became an annotation outside any page and were never updated in one: boxes of
#: an import, and predictions that were accepted for many tasks at once.
IMPORTED, UNOPENED = "imported", "accepted unopened"
#: Flag of boxes that may be of another image, which the task showed before.
EXCHANGED = "image exchanged since"


@dataclass(frozen=True)
class KnownImage:
    """One image of a project with its boxes as drawn, and what was odd about them.

    Parameters
    ----------
    file_name
        Its name in exports: its own, unless another image has it too or no file may have it.
    aside
        The boxes that look wrong: they count, but no run learns from them.
    none_usable
        Whether nothing that was drawn can be used.
    unusable
        Drawn regions that give no box.
    """

    stored: StoredImage
    counted: CountedImage
    file_name: str
    notes: tuple[str, ...] = ()
    aside: tuple[SetAside, ...] = ()
    none_usable: bool = False
    unusable: tuple[Unusable, ...] = ()

    @property
    def corrected(self) -> bool:
        return self.counted.source == "corrected"

    def flagged(self, flag: str) -> KnownImage:
        """Return the image with one more flag."""
        flags = (*self.counted.flags, flag)
        return replace(self, counted=replace(self.counted, flags=flags))
