"""The colours of all drawings."""

from __future__ import annotations

#: One for each class in turn; the colour-blind can tell them apart too (Okabe & Ito 2008).
COLOURS = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#F0E442", "#D55E00", "#0072B2")
#: Colours of figures: text, guide lines, and the ground.
INK, FAINT, PAPER = "#222222", "#bbbbbb", "#ffffff"
