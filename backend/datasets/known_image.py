"""One image of a project, with what is known of it, and the flags that say how."""

from __future__ import annotations

from dataclasses import dataclass, replace

from backend.datasets.counts import CountedImage
from backend.labelstudio.results import Unusable
from backend.store.images import StoredImage
from model.labels.label_guard import SetAside

#: Flag of an image that its annotators skipped and nobody corrected: no cell image, or blurred.
SKIPPED = "skipped"
#: Flags of boxes that became an annotation outside any page, and that nobody updated in one: what
#: an import brought in, and predictions that were accepted for many tasks at once.
IMPORTED, UNOPENED = "imported", "accepted unopened"


@dataclass(frozen=True)
class KnownImage:
    """One image of a project with its boxes as drawn, and what was odd about them.

    Parameters
    ----------
    file_name
        What exports call it: its name, unless that is another image's too or no file's.
    aside
        Those of the boxes that look wrong: they count, but no run learns from them.
    none_usable
        Whether nothing of what was drawn can be used.
    unusable
        What was drawn and gives no box.
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
        """Return it with one flag more."""
        flags = (*self.counted.flags, flag)
        return replace(self, counted=replace(self.counted, flags=flags))
