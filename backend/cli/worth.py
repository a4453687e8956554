"""What a version is worth, as text for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model.wording import counted, limits_in_words

if TYPE_CHECKING:
    from model.reports import AveragePrecision, CountReport, EvaluationReport, Interval, Stratum

#: Fits "  contrast medium" and "  20 to 60 cells".
NAME_WIDTH = 17


def report_text(report: EvaluationReport) -> str:
    """Return the figures of a report, a line each; docs/evaluation.md explains them."""
    likely = report.intervals
    lines = [
        _line("images", _images(report)),
        _line("any class", _precision(report.any_class, likely.any_class_ap50)),
        _line("mean of classes", _precision(report.mean, likely.mean_ap50)),
        *(_line(f"  {name}", _precision(value)) for name, value in report.by_class.items()),
        *(_line(f"  contrast {name}", _stratum(part)) for name, part in report.by_group.items()),
        *(_line(f"  {name}", _stratum(part)) for name, part in report.by_density.items()),
        _line("mAP of the thesis", _figure(report.thesis_map)),
        f"at score ≥ {report.threshold:.3f}  precision {report.precision:.3f}  "
        f"recall {report.recall:.3f}  F1 {report.f1:.3f}",
        _line("count", _count(report.count, likely.count_error)),
        *_counts_by_class(report),
        _line("calibration", _calibration(report)),
    ]
    return "\n".join([*lines, *limits_in_words(report.caps_reached)])


def ap50_text(report: EvaluationReport | None) -> str:
    """Return AP50 for cells of any class, or a dash if it was not measured."""
    return "–" if report is None else _figure(report.any_class.ap50)


def _line(name: str, text: str) -> str:
    return f"{name:<{NAME_WIDTH}} {text}"


def _counts_by_class(report: EvaluationReport) -> list[str]:
    """Return a line for each of several classes."""
    from model.judging.counting import counts_of_classes

    by_class = counts_of_classes(report) if len(report.counts_by_class) > 1 else {}
    return [_line(f"  {name}", _count(count)) for name, count in by_class.items()]


def _images(report: EvaluationReport) -> str:
    few = ", too few for intervals" if report.intervals.count_error is None else ""
    return f"{len(report.images)}{few}"


def _precision(value: AveragePrecision, likely: Interval | None = None) -> str:
    between = f" (95 %: {likely.low:.3f} to {likely.high:.3f})" if likely else ""
    return (
        f"AP50 {_figure(value.ap50)}{between}  AP75 {_figure(value.ap75)}  AP {_figure(value.ap)}"
    )


def _count(count: CountReport, likely: Interval | None = None) -> str:
    between = f" (95 %: {likely.low:.1%} to {likely.high:.1%})" if likely else ""
    return (
        f"{count.predicted} of {count.true} true  error {count.error:.1%}{between}  "
        f"bias {count.bias:+.1%}  median {count.median_error:.1%}"
    )


def _calibration(report: EvaluationReport) -> str:
    after = report.calibrated_error
    shown = "" if after is None else f"  of the probabilities shown {after:.3f}"
    return f"error {report.calibration_error:.3f}{shown}"


def _stratum(part: Stratum) -> str:
    images = counted(part.images, "image")
    if part.any_class is None:
        return f"{images}: too few to say"
    error = f"count error {part.count.error:.1%}" if part.count else ""
    return "  ".join(filter(None, (_precision(part.any_class), error, images)))


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
