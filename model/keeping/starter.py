"""The starter: the version shipped with the package, for projects that have taught nothing yet.

Its ``version.json`` says how it was made, from what, and how good it is; ``make starter`` trains
another.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

STARTER_ID: Final = "starter-6"

#: A version's folder like those of a registry.
FOLDER = Path(__file__).parents[1] / "shipped" / STARTER_ID


def is_starter(version_id: str) -> bool:
    """Say whether it is the starter's id, of this release or an earlier one."""
    return re.fullmatch(r"starter-\d+", version_id) is not None


def is_shipped() -> bool:
    """Say whether the starter is there: a checkout may be without, and works from nothing."""
    return (FOLDER / "version.json").is_file()
