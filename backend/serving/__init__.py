"""From a task to the boxes of the version that serves its project."""
