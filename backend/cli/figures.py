"""What a version is worth, as text for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model.versions import AveragePrecision, EvaluationReport


def report_text(report: EvaluationReport) -> str:
    """Return the figures of a report, a line each."""
    lines = [
        f"images            {len(report.images)}",
        _precision_line("any class", report.any_class),
        _precision_line("mean of classes", report.mean),
        *(_precision_line(f"  {name}", value) for name, value in report.by_class.items()),
        *(_precision_line(f"  contrast {name}", value) for name, value in report.by_group.items()),
        f"at score ≥ {report.threshold:.3f}  precision {report.precision:.3f}  "
        f"recall {report.recall:.3f}  F1 {report.f1:.3f}",
        f"count             {report.count.predicted} of {report.count.true} true  "
        f"error {report.count.error:.1%}  bias {report.count.bias:+.1%}  "
        f"median {report.count.median_error:.1%}",
    ]
    if report.caps_reached:
        lines.append(f"caps reached      {', '.join(report.caps_reached)}: some boxes were cut off")
    return "\n".join(lines)


def ap50_text(report: EvaluationReport | None) -> str:
    """Return AP50 for cells of any class, or a dash when it was not measured."""
    return "–" if report is None else _figure(report.any_class.ap50)


def _precision_line(name: str, value: AveragePrecision) -> str:
    figures = "  ".join(
        f"{label} {_figure(figure)}"
        for label, figure in (("AP50", value.ap50), ("AP75", value.ap75), ("AP", value.ap))
    )
    return f"{name:<17} {figures}"


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
