"""What an annotator does to the boxes of an image, and how long that takes."""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields, replace

#: The thesis' figure for drawing every cell by hand (Tare 2020).
BY_HAND_S_PER_CELL = 72.0


@dataclass(frozen=True)
class Actions:
    """How many boxes of one or several images were treated in each way.

    Parameters
    ----------
    kept
        Served boxes left as they were, which takes no action.
    moved, relabelled
        Served boxes that got other edges, or another class; a box that got both counts in both.
    deleted, added
        Served boxes that were removed, and boxes that were drawn.
    """

    kept: int = 0
    moved: int = 0
    relabelled: int = 0
    deleted: int = 0
    added: int = 0

    @property
    def number(self) -> int:
        return self.moved + self.relabelled + self.deleted + self.added

    def __add__(self, other: Actions) -> Actions:
        return Actions(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


#: The kinds of treatment, in the order in which they are shown.
KINDS = tuple(field.name for field in fields(Actions))


@dataclass(frozen=True)
class Costs:
    """Seconds that each action takes; the defaults are assumptions, not measurements.

    Parameters
    ----------
    keep_s
        A glance at a box that is right.
    image_s
        Opening, looking over and submitting an image, whatever is on it.
    """

    add_s: float = 7.0
    move_s: float = 4.0
    relabel_s: float = 2.0
    delete_s: float = 1.5
    keep_s: float = 0.5
    image_s: float = 5.0

    def seconds(self, actions: Actions, images: int = 1) -> float:
        """Return the seconds that the actions on a number of images take."""
        return (
            self.add_s * actions.added
            + self.move_s * actions.moved
            + self.relabel_s * actions.relabelled
            + self.delete_s * actions.deleted
            + self.keep_s * actions.kept
            + self.image_s * images
        )

    def seconds_of_right(self, actions: Actions, cells: int) -> float:
        """Return the mean seconds spent on a served box that is on a cell; a glance if none is.

        Parameters
        ----------
        cells
            The number of submitted boxes.
        """
        boxes = cells - actions.added
        treated = replace(actions, deleted=0, added=0)
        return self.seconds(treated, images=0) / boxes if boxes else self.keep_s
