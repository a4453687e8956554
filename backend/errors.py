"""What can go wrong in the loop; `backend.http.problems` turns each into an HTTP answer."""


class BackendError(Exception):
    """Base of this package's errors; the message says what to do."""


class BadSetting(BackendError, ValueError):
    """A setting, from the environment or an option, that cannot be used as it is."""


class BadRequest(BackendError, ValueError):
    """A request or a file from outside that cannot be used as it is."""


class Refused(BackendError):
    """Something that cannot be done as things stand, such as cancelling a run that has ended."""


class NotFound(BackendError, LookupError):
    """A project, task, image, run or version that is not there."""


class Unauthorised(BackendError, PermissionError):
    """A missing or wrong password, token or webhook secret."""


class LabelStudioError(BackendError):
    """Label Studio refused a call or could not be reached."""


class LabelStudioSilent(LabelStudioError):
    """Label Studio gave no answer of its own: it is away, too busy, or refuses the token."""


class LabelStudioMissing(LabelStudioError, LookupError):
    """Label Studio does not know what was asked for: it was deleted there, or never was."""


class QueueError(BackendError, ConnectionError):
    """Redis could not be reached; what was to be queued is kept in the store."""


class StoreError(BackendError, ConnectionError):
    """The database could not be opened."""


class BadLabelConfig(BackendError, ValueError):
    """A label_config without an Image and a RectangleLabels that belong together."""
