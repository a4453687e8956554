"""Sets up a Label Studio project so that the loop runs on it."""

from __future__ import annotations

from typing import Any

from backend.errors import BadLabelConfig
from backend.labelstudio.interface import LabellingInterface
from backend.services import Services
from backend.store.projects import Project

BACKEND_TITLE = "Cytoloop"

#: The settings that the loop needs in a project.
PROJECT_SETTINGS: dict[str, Any] = {
    # A task opens with the boxes of its prediction.
    "show_collab_predictions": True,
    # An image without cells is worth learning from.
    "enable_empty_annotation": True,
    # "Start training on submit" stays off: it would block the annotator during training.
    "min_annotations_to_start_training": 0,
}

#: For projects made here; later the lab may choose the order of tasks. At random: the least certain
#: first were more work and taught no more (docs/effort.md).
_ORDER = {"sampling": "Uniform sampling"}


def make_project(services: Services, title: str) -> Project:
    """Make a project in Label Studio with the configured labels, and record it in the store.

    Raises
    ------
    BadLabelConfig
        The configured file is no text, or its labels are not boxes on an image.
    """
    file = services.settings.label_config
    try:
        label_config = file.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise BadLabelConfig(f"{file} cannot be read ({error}): save it as UTF-8.") from error
    LabellingInterface.parse(label_config)
    id = services.label_studio.create_project(title, label_config, **PROJECT_SETTINGS, **_ORDER)
    return services.projects.ensure(id, title, label_config)


def attach(services: Services, project_id: int) -> Project:
    """Connect a project of Label Studio to this Cytoloop; doing it again changes nothing.

    The project keeps its own labels and order of tasks. Cytoloop must be running: Label Studio
    calls it to check.

    Raises
    ------
    BadLabelConfig
        Its labels are not boxes on an image.
    LabelStudioError
        Label Studio cannot be reached, does not know the project, or cannot reach Cytoloop.
    """
    studio, settings = services.label_studio, services.settings
    known = studio.project(project_id)
    LabellingInterface.parse(known["label_config"])
    project = services.projects.ensure(project_id, known["title"], known["label_config"])
    wanted = {name: v for name, v in PROJECT_SETTINGS.items() if known.get(name) != v}
    if wanted:
        studio.patch_project(project_id, **wanted)
    url = settings.backend_address
    password = services.credentials.backend_password
    studio.connect_backend(project_id, url, settings.backend_user, password, BACKEND_TITLE)
    secret = services.credentials.webhook_secret
    studio.secure_webhooks(project_id, settings.webhook_address, secret)
    return project
