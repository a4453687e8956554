"""Environment variables that begin like settings but are none."""

from __future__ import annotations

import os
from difflib import get_close_matches

from backend.settings import PREFIX, Settings

#: Where tests and benchmarks find real micrographs: it begins like a setting but is none.
DATA = "CYTOLOOP_DATA"


def unknown_variables() -> list[str]:
    """Say, for each environment variable that only begins like a setting, which setting exists."""
    fields = [name.upper() for name in Settings.model_fields]
    known = {DATA, *(f"{PREFIX}{field}" for field in fields)}
    unknown = {name for name in os.environ if name.upper().startswith(PREFIX)}
    told = []
    for name in sorted(unknown):
        if name.upper() in known:
            continue
        near = get_close_matches(name.upper().removeprefix(PREFIX), fields, 1)
        meant = f"; {PREFIX}{near[0]} is one" if near else ""
        told.append(f"{name} is no setting, and nothing heeds it{meant}")
    return told
