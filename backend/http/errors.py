"""Errors of requests that the web process refuses before looking at their content."""

from backend.errors import BackendError


class FromAnotherSite(BackendError, PermissionError):
    """A page of another site made a browser send a request with its stored password."""
