"""What the web process refuses before it looks at what is asked."""

from backend.errors import BackendError


class FromAnotherSite(BackendError, PermissionError):
    """A page of another site has a browser ask with the password that it keeps."""
