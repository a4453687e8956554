"""Processes that die at any point: at a statement of the store, a job, a change of the registry."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from sqlalchemy import event

from backend.services import Services

#: What a run changes in the registry, in this order.
CHANGES = ("add", "record_decision", "promote")


class Killed(BaseException):
    """The process is gone: nothing of the product may catch this."""


class Life:
    """Counts what the product does outside itself, and ends the process at a given point.

    Attributes
    ----------
    left
        How much it may still do, or the change after which it ends; None: it lives on.
    """

    def __init__(self, services: Services) -> None:
        self.left: int | str | None = None
        event.listen(services.engine, "before_cursor_execute", self._tick)
        for part, names in (
            (services.queue, ("enqueue_learn", "enqueue_push", "drop_learn")),
            (services.registry, CHANGES),
        ):
            for name in names:
                setattr(part, name, self._around(getattr(part, name)))

    def play(self, what: Callable[[], object], left: int | str | None) -> bool:
        """Do something with this much left to live, and return whether it got to its end."""
        self.left = left
        try:
            what()
        except Killed:
            return False
        finally:
            self.left = None
        return True

    def _around(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def mortal(*args: Any, **kwargs: Any) -> Any:
            self._tick()
            answer = method(*args, **kwargs)
            if self.left == method.__name__:
                raise Killed
            self._tick()
            return answer

        return mortal

    def _tick(self, *_: Any) -> None:
        if self.left == 0:
            raise Killed
        if isinstance(self.left, int):
            self.left -= 1
