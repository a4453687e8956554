"""What can go wrong between a task and its boxes."""

from __future__ import annotations

from backend.errors import BackendError


class NotReady(BackendError):
    """The version that should answer is still being loaded; asking again later helps."""
