from __future__ import annotations

from typing import Any

from sqlalchemy import Engine

from backend.store.annotations import Annotations
from backend.store.annotators import Annotators


def test_the_name_of_each_annotator_is_asked_for_once(engine: Engine, annotated: Any) -> None:
    store = Annotators(engine)
    for id, annotator in enumerate(["1", "2", "1", None]):
        Annotations(engine).record(annotated(id, task=id, annotator=annotator))
    assert store.unnamed() == {"1", "2"}
    store.call({"1": "ada@lab.org", "2": "2"})
    assert store.unnamed() == set()
    assert store.names() == {"1": "ada@lab.org", "2": "2"}


def test_an_annotator_keeps_the_name_that_was_first_heard(engine: Engine) -> None:
    store = Annotators(engine)
    store.call({"1": "ada@lab.org"})
    store.call({"1": "1", "2": "2"})
    assert store.names() == {"1": "ada@lab.org", "2": "2"}
