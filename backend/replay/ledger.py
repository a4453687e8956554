"""A replay's rows, one for each image, in a CSV file from which a replay goes on."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import get_type_hints

from backend.actions import Actions, Costs
from backend.datasets.result_folder import require_as_begun
from backend.datasets.writing import write_whole
from backend.errors import BadRequest
from backend.replay.correcting import Corrected
from model.atomic import write_json

#: The tables in a folder of results.
TABLE, FLOOR_TABLE = "effort.csv", "floor.csv"
#: For the seconds in the table, which are also sent as Label Studio's ``lead_time``.
COSTS = Costs()


@dataclass(frozen=True)
class Row:
    """One image of a replay.

    Parameters
    ----------
    form
        How it was played: ``in process``, ``over HTTP`` or ``floor``.
    number
        Place in the order in which the project's images were corrected, from 1.
    served
        Name of version and policy.
    learned
        Number of images that the version had learned from: the milestone; 0 before the first.
    missed, accepted
        Boxes missed and accepted by carelessness.
    cells
        The number of true boxes.
    seconds
        By the assumed costs.
    """

    form: str
    number: int
    image: str
    sha256: str
    served: str
    learned: int
    kept: int
    moved: int
    relabelled: int
    deleted: int
    added: int
    missed: int
    accepted: int
    cells: int
    seconds: float

    @property
    def actions(self) -> Actions:
        return Actions(self.kept, self.moved, self.relabelled, self.deleted, self.added)


COLUMNS = tuple(field.name for field in fields(Row))


def row_of(
    form: str,
    number: int,
    image: tuple[str, str],
    served: tuple[str, int],
    corrected: Corrected,
    cells: int,
) -> Row:
    """Put a row together.

    Parameters
    ----------
    image
        Name and sha256.
    served
        Name of version and policy, and the number of images that it learned from.
    """
    return Row(
        form=form,
        number=number,
        image=image[0],
        sha256=image[1],
        served=served[0],
        learned=served[1],
        **asdict(corrected.actions),
        missed=corrected.missed,
        accepted=corrected.accepted,
        cells=cells,
        seconds=round(COSTS.seconds(corrected.actions), 3),
    )


def kept_beside(table: Path) -> Path:
    """Return the file that records how the rows of a table are played."""
    return table.with_suffix(".json")


class Ledger:
    """The CSV file of a replay; each row is written whole or not at all.

    Raises
    ------
    BadRequest
        The file is another table.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.rows = _read(path) if path.exists() else []
        self._known = {row.sha256 for row in self.rows}

    def keep_to(self, how: Mapping[str, object]) -> None:
        """Record beside the rows how they are played, or check that they go on as begun.

        Parameters
        ----------
        how
            The choices by name, including ``form``. If they were never recorded, only the rows'
            form is checked.

        Raises
        ------
        BadRequest
            The rows began with other choices.
        """
        path = kept_beside(self._path)
        began: Mapping[str, object] = {"form": self.rows[0].form} if self.rows else {}
        if path.exists():
            began = json.loads(path.read_text("utf-8"))
        require_as_begun(self._path, began, how)
        write_json(path, dict(how))

    def add(self, row: Row) -> None:
        """Append a row, unless its image already has one."""
        if row.sha256 in self._known:
            return
        new = not self._path.exists() or not self._path.stat().st_size
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", newline="", encoding="utf-8") as out:
            table = csv.writer(out, lineterminator="\n")
            if new:
                table.writerow(COLUMNS)
            table.writerow(astuple(row))
            out.flush()
            os.fsync(out.fileno())
        self.rows.append(row)
        self._known.add(row.sha256)

    def __contains__(self, sha256: str) -> bool:
        return sha256 in self._known


def effort_of_rows(rows: Iterable[Row]) -> float:
    """Return the actions for each true box: 1 is drawing everything."""
    rows = list(rows)
    return sum(row.actions.number for row in rows) / max(1, sum(row.cells for row in rows))


def seconds_a_cell(rows: Iterable[Row]) -> float:
    """Return the assumed seconds for each true box over all rows."""
    rows = list(rows)
    return sum(row.seconds for row in rows) / max(1, sum(row.cells for row in rows))


def recall_of_rows(rows: Iterable[Row]) -> float:
    """Return the share of true boxes that were submitted, served or drawn."""
    rows = list(rows)
    return 1 - sum(row.missed for row in rows) / max(1, sum(row.cells for row in rows))


def _read(path: Path) -> list[Row]:
    text = path.read_text("utf-8")
    # A line without an end was cut off: its image is played again.
    lines = text[: text.rfind("\n") + 1]
    if len(lines) != len(text):
        write_whole(path, lines.encode())
    table = csv.reader(io.StringIO(lines, newline=""))  # a name may hold other line ends
    if tuple(next(table, COLUMNS)) != COLUMNS:
        raise BadRequest(f"{path} is no table of a replay; name another file with --out.")
    kinds = get_type_hints(Row)
    converters = [kinds[field.name] for field in fields(Row)]
    return [
        Row(*(convert(value) for convert, value in zip(converters, line, strict=True)))
        for line in table
    ]
