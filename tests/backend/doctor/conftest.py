from __future__ import annotations

from collections.abc import Iterable

from backend.doctor.findings import Finding


def only(findings: Iterable[Finding]) -> Finding:
    (found,) = findings
    return found
