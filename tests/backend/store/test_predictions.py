from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine, event

from backend.store.predictions import Predictions


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_flags_are_counted_without_reading_a_box(engine: Engine) -> None:
    asked: list[tuple[str, Any]] = []

    def keep(connection: Any, cursor: Any, statement: str, parameters: Any, *rest: Any) -> None:
        asked.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", keep)
    Predictions(engine).count_flagged(1, "trained-1+t0.5", "limit reached")
    event.remove(engine, "before_cursor_execute", keep)
    [(statement, parameters)] = asked
    with engine.connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
    told = [row.detail for row in plan if "predictions" in row.detail]
    assert len(told) == 1
    assert "USING COVERING INDEX ix_predictions_flags" in told[0]
