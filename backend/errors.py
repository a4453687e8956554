"""Errors of the loop; `backend.http.problems` turns each into an HTTP answer."""


class BackendError(Exception):
    """Base of this package's errors; the message says what to do."""


class BadSetting(BackendError, ValueError):
    """A setting, from the environment or an option, cannot be used as it is."""


class BadRequest(BackendError, ValueError):
    """A request or a file from outside cannot be used as it is."""


class Refused(BackendError):
    """Something cannot be done as things stand, such as cancelling a run that has ended."""


class NotFound(BackendError, LookupError):
    """There is no such project, task, image, run or version."""


class Unauthorised(BackendError, PermissionError):
    """A password, token or webhook secret is missing or wrong."""


class LabelStudioError(BackendError):
    """Label Studio refused a call or could not be reached."""


class LabelStudioSilent(LabelStudioError):
    """Label Studio itself gave no answer: it is away, too busy, or refuses the token."""


class LabelStudioMissing(LabelStudioError, LookupError):
    """Label Studio does not have what was asked for: it was deleted there, or never existed."""


class QueueError(BackendError, ConnectionError):
    """Redis could not be reached; the store keeps what was to be queued."""


class StoreError(BackendError, ConnectionError):
    """The database could not be opened."""


class BadLabelConfig(BackendError, ValueError):
    """A label_config has no Image and RectangleLabels that belong together."""
