"""The starter: the version shipped with the package, for projects that have taught nothing yet.

Its ``version.json`` says how it was made, from what, and how good it is; ``make starter`` trains
another.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, Literal, get_args

#: The one starter that is shipped, by its number; a setting takes no other.
StarterId = Literal["starter-6"]
STARTER_ID: Final[StarterId] = get_args(StarterId)[0]

#: A version's folder like those of a registry.
FOLDER = Path(__file__).parents[1] / "shipped" / STARTER_ID


def is_starter(version_id: str) -> bool:
    """Say whether it is the starter's id, of this release or an earlier one."""
    return re.fullmatch(r"starter-\d+", version_id) is not None


def is_shipped() -> bool:
    """Say whether the starter is there: a checkout may be without, and works from nothing."""
    return (FOLDER / "version.json").is_file()
