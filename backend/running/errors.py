"""What can go wrong between `cytoloop up` and a running loop; each message says what to do."""

from backend.errors import BackendError


class RunningError(BackendError):
    """Base of this package's errors."""


class AlreadyRunning(RunningError):
    """Another `cytoloop up` holds this home."""


class PortBusy(RunningError):
    """Something else listens on an address."""


class ProgramMissing(RunningError):
    """A program is not installed; `make setup` installs it."""


class ServiceFailed(RunningError):
    """A service did not start, or died too often."""
