"""Whether a candidate takes the champion's place: pure rules on what both found in the same images.

A figure is better or worse beyond noise when it is in 95 % of the resamples of the images (paired
bootstrap, see ``model.judging.evidence``). ``docs/evaluation.md`` has the rules in words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from model.judging.evidence import SURE, Comparison, Evidence, Gain
from model.judging.resampling import RESAMPLES
from model.judging.strata import FEWEST_IMAGES, STRATA
from model.versions import GateDecision, JudgedImage
from model.wording import counted

#: On fewer than ``FEWEST_IMAGES`` images a candidate is refused when the probability that its AP50
#: is lower by more than ``TOLERANCE`` is above ``DOUBT``; on more it is then not equal.
TOLERANCE = 0.02
DOUBT = 0.3

_ALIKE = "candidate finds what the champion finds: nothing would change"
_NO_CELLS = (
    "no image that judges has a cell, and candidate and champion find as many in them: correct "
    "images that have cells"
)


def decide(
    candidate: Evidence,
    champion: Evidence,
    images: Sequence[JudgedImage] = (),
    resamples: int = RESAMPLES,
) -> GateDecision:
    """Compare a candidate with the champion on images that both have seen as little.

    It is promoted when its AP50 is better beyond noise, or equal and its count error better, and
    it is worse in no stratum of contrast. On fewer than ``FEWEST_IMAGES`` it is promoted unless it
    is likely to be worse. One that finds no cell where there are some, or just what the champion
    finds, never passes.

    Parameters
    ----------
    images
        What is known of each image, in the order of the reports; empty: nothing.
    resamples
        Of the paired bootstrap.

    Raises
    ------
    ValueError
        When the reports are not of the same images.
    """
    if candidate.report.images != champion.report.images:
        raise ValueError(
            "candidate and champion were judged on different images; evaluate both on the same"
        )
    verdict = _verdict(Comparison(candidate, champion, resamples), images)
    reasons = (
        _judged_on(candidate, images),
        *_seen(images),
        *_began_as(images, champion.version),
        *verdict.reasons,
        "candidate promoted" if verdict.passes else "champion stays, candidate refused",
    )
    return GateDecision(
        verdict.passes, reasons, candidate.report, champion.report, images=tuple(images)
    )


class _Verdict(NamedTuple):
    """Whether a candidate passes a rule, and what that was seen by."""

    passes: bool
    reasons: tuple[str, ...]


def _verdict(comparison: Comparison, images: Sequence[JudgedImage]) -> _Verdict:
    report = comparison.candidate.report
    if report.count.true and not report.recall:
        boxes = counted(report.count.predicted, "box")
        return _Verdict(False, (f"candidate finds none of the cells ({boxes}, none right)",))
    precision, count = comparison.ap50(), comparison.count()
    if count.is_none and (precision is None or precision.is_none):
        return _Verdict(False, (_NO_CELLS if precision is None else _ALIKE,))
    if len(report.images) < FEWEST_IMAGES:
        return _of_few_images(precision, count)
    whole = _of_many_images(precision, count)
    return _all_of([whole, *_in_strata(comparison, images)]) if whole.passes else whole


def _of_many_images(precision: Gain | None, count: Gain) -> _Verdict:
    """Decide by AP50, and by the count error where AP50 is equal."""
    if precision is None:
        said = "no cell to find: AP50 says nothing"
    else:
        risk = precision.probability_behind(TOLERANCE)
        # Equal is not only what noise cannot tell apart: a likely loss is not equal.
        is_worse = precision.is_worse or risk > DOUBT
        word = "better" if precision.is_better else "worse" if is_worse else "equal"
        said = f"{_ap50(precision)}: {word} ({_between(precision)})"
        if word != "equal":
            return _Verdict(word == "better", (said,))
    word = "better" if count.is_better else "worse" if count.is_worse else "equal"
    return _Verdict(count.is_better, (said, f"{_count(count)}: {word}"))


def _of_few_images(precision: Gain | None, count: Gain) -> _Verdict:
    """Decide where the images are too few to prove anything: pass unless likely to be worse.

    A candidate has learned from more corrections than the champion, which speaks for it before
    anything is measured.
    """
    gain, words = (count, _count(count)) if precision is None else (precision, _ap50(precision))
    risk = gain.probability_behind(TOLERANCE)
    rule = (
        f"with fewer than {FEWEST_IMAGES} images a candidate is promoted unless the "
        f"probability that it is worse by more than {TOLERANCE:g} is above "
        f"{DOUBT:g}: it is {risk:.2f}"
    )
    return _Verdict(risk <= DOUBT, (words, rule))


def _in_strata(comparison: Comparison, images: Sequence[JudgedImage]) -> Iterator[_Verdict]:
    """Judge in each stratum of contrast alone: it passes where it is not worse."""
    for stratum in STRATA:
        if rows := [row for row, image in enumerate(images) if image.stratum == stratum]:
            yield _in_stratum(stratum, comparison, rows)


def _in_stratum(stratum: str, comparison: Comparison, rows: Sequence[int]) -> _Verdict:
    name = f"contrast {stratum} ({counted(len(rows), 'image')})"
    if len(rows) < FEWEST_IMAGES:
        return _Verdict(True, (f"{name}: too few to be looked at alone",))
    gain = comparison.ap50(rows) or comparison.count(rows)
    word = "worse" if gain.is_worse else "not worse"
    return _Verdict(not gain.is_worse, (f"{name}: {word} ({_between(gain)})",))


def _all_of(verdicts: Sequence[_Verdict]) -> _Verdict:
    reasons = (reason for verdict in verdicts for reason in verdict.reasons)
    return _Verdict(all(verdict.passes for verdict in verdicts), tuple(reasons))


def _judged_on(evidence: Evidence, images: Sequence[JudgedImage]) -> str:
    number, cells = len(evidence.report.images), evidence.report.count.true
    words = f"judged on {counted(number, 'held-out image')} with {counted(cells, 'cell')}"
    beside = sum(image.is_beside_snapshot for image in images)
    return f"{words}, {beside} of them corrected beside the training" if beside else words


def _seen(images: Sequence[JudgedImage]) -> list[str]:
    if not any(image.is_seen for image in images):
        return []
    return ["both have learned from these images, for want of others: the figures flatter both"]


def _began_as(images: Sequence[JudgedImage], champion: str) -> list[str]:
    """Say whose boxes were corrected into the truth, which favours whoever made them."""
    if not images:
        return []
    began = Counter(image.began_as for image in images)
    shown = [
        (began[name], f"with boxes of {'the champion' if name == champion else name}")
        for name in sorted(began, key=lambda name: -began[name])
        if name
    ]
    blank = [(began[""], "without boxes")] if began[""] else []
    (number, first), *others = shown + blank
    more = [f"{number} {how}" for number, how in others]
    return [", ".join([f"{number} of these images opened {first}", *more])]


def _ap50(gain: Gain) -> str:
    return f"AP50 {gain.ours:.3f} against the champion's {gain.theirs:.3f}"


def _count(gain: Gain) -> str:
    return f"count error {gain.ours:.1%} against the champion's {gain.theirs:.1%}"


def _between(gain: Gain) -> str:
    likely = gain.interval
    middle = f"{100 * (2 * SURE - 1):.0f} % of the resamples"
    return f"{likely.low:+.3f} to {likely.high:+.3f} in {middle}"
