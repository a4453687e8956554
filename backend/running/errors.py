"""What can go wrong between `cytoloop up` and a running loop; each message says what to do."""

from backend.errors import BackendError


class RunningError(BackendError):
    """Base of this package's errors."""


class AlreadyRunning(RunningError):
    """Another `cytoloop up` holds this home."""


class PortBusy(RunningError):
    """An address that something else listens on."""


class ProgramMissing(RunningError):
    """A program that is to be installed, as `make setup` does."""


class ServiceFailed(RunningError):
    """A service that did not come up, or died too often."""
