"""What can go wrong between a file and the pixels a detector sees."""


class PreprocessingError(ValueError):
    """Base of this package's errors; the message says what to do."""


class UnreadableImage(PreprocessingError):
    """A file that cannot be read as an image: empty, truncated, or of an unknown format."""


class GroupsError(PreprocessingError):
    """Contrast groups that cannot be fitted, saved or loaded."""
