"""What `cytoloop up` shows: one line for each service, and a spinner for long work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich import markup
from rich.console import Console
from rich.status import Status

from backend.running.processes import Service
from model.wording import printable

LABEL_WIDTH = 13


class Terminal:
    """The report of a supervisor, for a person.

    Parameters
    ----------
    hints
        By service name, words to show while it starts, such as that it takes a minute.
    """

    def __init__(self, hints: dict[str, str] | None = None) -> None:
        self.console = Console(highlight=False)
        self._hints = dict(hints or {})
        self._status: Status | None = None
        self._words = ""

    def starting(self, service: Service) -> None:
        hint = self._hints.get(service.name, "")
        if hint and not self.console.is_terminal:
            self.console.print(f"{service.label}: {self._hints.pop(service.name)}")
        words = f"Starting {service.label}{hint and f' ({hint})'}"
        if words == self._words:
            return
        self._spin(words)

    def ready(self, service: Service, seconds: float) -> None:
        self._tick(service.label, f"{_escaped(service.where)}  [dim]{seconds:.1f} s[/dim]")

    def restarting(self, service: Service, reason: str, delay_s: float) -> None:
        self._quiet()
        self.console.print(
            f"[yellow]![/yellow] {service.label:<{LABEL_WIDTH}} {_escaped(reason)} "
            f"Starting it again in {delay_s:.0f} s."
        )

    def stopping(self, service: Service) -> None:
        self._spin(f"Stopping {service.label}")

    def stopped(self) -> None:
        """Say that everything has stopped."""
        self._quiet()
        self.console.print("Stopped. The next start finds everything as it was.")

    def done(self, label: str, words: str) -> None:
        """Print one finished line."""
        self._tick(label, _escaped(words))

    @contextmanager
    def working(self, words: str) -> Iterator[None]:
        """Show that something is under way."""
        self._spin(words)
        try:
            yield
        finally:
            self._quiet()

    def update(self, words: str) -> None:
        """Change the words of what is under way."""
        if self._status is None:  # a line was printed meanwhile
            self._spin(words)
        else:
            self._status.update(_escaped(words))

    def say(self, words: str = "") -> None:
        """Print a line unchanged."""
        self._quiet()
        self.console.print(printable(words), soft_wrap=True, markup=False)

    def warn(self, words: str) -> None:
        """Print a warning."""
        self._quiet()
        self.console.print(f"[yellow]![/yellow] {_escaped(words)}", soft_wrap=True)

    def _tick(self, label: str, marked_up: str) -> None:
        self._quiet()
        self.console.print(f"[green]✓[/green] {label:<{LABEL_WIDTH}} {marked_up}", soft_wrap=True)

    def _spin(self, words: str) -> None:
        self._quiet()
        self._words = words
        self._status = self.console.status(_escaped(words))
        self._status.start()

    def _quiet(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None
            self._words = ""


def _escaped(words: str) -> str:
    """Return words to show literally: neither markup nor control characters take effect."""
    return markup.escape(printable(words))
