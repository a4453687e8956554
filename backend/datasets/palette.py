"""The colours of whatever is drawn."""

from __future__ import annotations

#: One for each class in turn: apart from one another also for the colour-blind (Okabe & Ito 2008).
COLOURS = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#F0E442", "#D55E00", "#0072B2")
#: Of figures: what is written, lines that help the eye, and what all is drawn on.
INK, FAINT, PAPER = "#222222", "#bbbbbb", "#ffffff"
