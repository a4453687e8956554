"""The names of annotators: an annotation only has Label Studio's number of its annotator."""

from collections.abc import Mapping

from sqlalchemy import Engine, select

from backend.store.database import upsert
from backend.store.tables import annotations, annotators


class Annotators:
    """The annotators' names in the store, by number, as they were when first heard of."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def names(self) -> dict[str, str]:
        """Return the name of each annotator that has one, by the number in annotations."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(annotators.c.number, annotators.c.name)).all()
        return {row.number: row.name for row in rows}

    def unnamed(self) -> set[str]:
        """Return the numbers of annotators whose names were never asked for."""
        query = (
            select(annotations.c.annotator)
            .distinct()
            .join(annotators, annotators.c.number == annotations.c.annotator, isouter=True)
            .where(annotations.c.annotator.is_not(None), annotators.c.number.is_(None))
        )
        with self._engine.connect() as connection:
            return set(connection.execute(query).scalars())

    def call(self, names: Mapping[str, str]) -> None:
        """Keep the names of annotators who have none yet."""
        with self._engine.begin() as connection:
            for number, name in sorted(names.items()):  # in one order, so that none deadlock
                insert = upsert(connection, annotators).values(number=number, name=name)
                connection.execute(insert.on_conflict_do_nothing())
