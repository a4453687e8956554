"""Whether a candidate takes the champion's place: a pure function of two reports."""

from __future__ import annotations

from typing import Literal

from model.config import GateConfig
from model.versions import EvaluationReport, GateDecision

Verdict = Literal["better", "worse", "equal"]


def decide(
    candidate: EvaluationReport, champion: EvaluationReport, config: GateConfig
) -> GateDecision:
    """Compare a candidate with the champion on the same held-out images.

    AP50, the mean over the classes, decides; where it is equal within the margin the count error
    does; where that is equal too the champion stays, since a change must be worth its while. A
    candidate that finds no cell where there are some never passes.

    Raises
    ------
    ValueError
        When the reports are not of the same images.
    """
    if candidate.images != champion.images:
        raise ValueError(
            "candidate and champion were judged on different images; evaluate both on the same"
        )
    reasons = [_held_out(candidate)]
    if candidate.count.true and not candidate.recall:
        found = candidate.count.predicted
        reasons.append(f"candidate finds none of the cells ({found} boxes, none right): refused")
        return GateDecision(False, tuple(reasons), candidate, champion)
    verdict = _by_precision(candidate, champion, config.margin, reasons)
    if verdict == "equal":
        verdict = _by_count(candidate, champion, config.count_margin, reasons)
    reasons.append(
        "candidate promoted" if verdict == "better" else "champion stays, candidate refused"
    )
    return GateDecision(verdict == "better", tuple(reasons), candidate, champion)


def _held_out(report: EvaluationReport) -> str:
    images = len(report.images)
    return f"judged on {images} held-out image{'s' * (images != 1)} with {report.count.true} cells"


def _by_precision(
    candidate: EvaluationReport, champion: EvaluationReport, margin: float, reasons: list[str]
) -> Verdict:
    ours, theirs = candidate.mean.ap50, champion.mean.ap50
    if ours is None or theirs is None:
        reasons.append("no cell to find on the held-out images: AP50 says nothing")
        return "equal"
    verdict = _compare(ours, theirs, margin)
    reasons.append(
        f"AP50 {ours:.3f} against the champion's {theirs:.3f}: {_words(verdict, margin)}"
    )
    return verdict


def _by_count(
    candidate: EvaluationReport, champion: EvaluationReport, margin: float, reasons: list[str]
) -> Verdict:
    ours, theirs = candidate.count.error, champion.count.error
    verdict = _compare(-ours, -theirs, margin)
    reasons.append(
        f"count error {ours:.1%} against the champion's {theirs:.1%}: {_words(verdict, margin)}"
    )
    return verdict


def _compare(ours: float, theirs: float, margin: float) -> Verdict:
    # Rounded, lest 0.51 − 0.50 be more than a margin of 0.01.
    above = round(ours - theirs, 9)
    return "better" if above > margin else "worse" if above < -margin else "equal"


def _words(verdict: Verdict, margin: float) -> str:
    return f"equal within {margin:g}" if verdict == "equal" else verdict
