"""The choices about contrast: how images are grouped, and how far each is matched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from preprocessing.configuration import Config

ContrastMode = Literal["none", "single", "groups", "flat"]
TemplateKind = Literal["barycentre", "medoid", "image"]
Rank = Literal["upper", "middle"]

MOST_GROUPS = 9


@dataclass(frozen=True)
class ContrastConfig(Config):
    """How contrast is treated before a detector looks; part of ``ContrastGroups``.

    Parameters
    ----------
    mode
        ``none``: each image is stretched by its own percentiles; ``single``: all are matched to one
        template (Tare 2020, §5.3, model 05); ``groups``: each to the template of its contrast group
        (§5.4, model 06); ``flat``: as ``groups``, after the background was evened out.
    template
        What a group's template is: the ``barycentre`` of its shapes, its ``medoid`` (the image
        nearest to the barycentre), or an ``image`` that the user names.
    groups
        The greatest number of groups, 1 to 9; ``flat`` with 1 evens out and has one template.
    strength
        How far matching goes, from the stretched image (0) to the template (1).
    gain_limit
        The greatest slope of matching, in multiples of the stretch's slope; None for no limit. It
        keeps matching from raising the noise of a flat background. The median pixel keeps its grey.
    rank
        Where a level that many pixels share goes: to the upper end of their ranks, as in
        ``skimage.exposure.match_histograms``, or to the middle. The middle treats dark and bright
        alike and keeps a clipped background in the template's middle.

    Raises
    ------
    ValueError
        A figure or a word is none of these.
    """

    mode: ContrastMode = "groups"
    template: TemplateKind = "barycentre"
    groups: int = 3
    strength: float = 1.0
    gain_limit: float | None = None
    rank: Rank = "upper"

    def __post_init__(self) -> None:
        _check_word("mode", self.mode, get_args(ContrastMode))
        _check_word("template", self.template, get_args(TemplateKind))
        _check_word("rank", self.rank, get_args(Rank))
        if not 1 <= self.groups <= MOST_GROUPS:
            raise ValueError(f"groups must be 1 to {MOST_GROUPS}, not {self.groups}")
        if not 0 <= self.strength <= 1:
            raise ValueError(f"strength must be 0 to 1, not {self.strength}")
        if self.gain_limit is not None and not self.gain_limit > 0:
            raise ValueError(f"gain_limit must be above 0, not {self.gain_limit}")

    @classmethod
    def of(cls, contrast: ContrastMode | ContrastConfig) -> ContrastConfig:
        """Return a configuration as it is, or the one that a mode's name stands for."""
        return contrast if isinstance(contrast, ContrastConfig) else cls(mode=contrast)

    @property
    def evens_background(self) -> bool:
        return self.mode == "flat"

    @property
    def most_groups(self) -> int:
        return {"none": 0, "single": 1}.get(self.mode, self.groups)


def _check_word(name: str, word: str, known: tuple[str, ...]) -> None:
    if word not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, not {word!r}")
