"""A Label Studio of our own, in its own environment, with its data under the home."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from backend.credentials import Credentials
from backend.running.errors import ProgramMissing
from backend.running.http import answers
from backend.running.processes import Service
from backend.settings import PACKAGE_ROOT, Settings

ENVIRONMENT_PROGRAM = PACKAGE_ROOT / ".venv-label-studio" / "bin" / "label-studio"
DATABASE = "label_studio.sqlite3"
FIRST_START_S = 600.0


def label_studio_service(settings: Settings, credentials: Credentials) -> Service:
    """Return our own Label Studio, with the login and token of ``credentials``.

    Raises
    ------
    ProgramMissing
        Label Studio is not installed.
    """
    folder = data_folder(settings)
    folder.mkdir(parents=True, exist_ok=True)
    address = settings.label_studio_address
    port = urlsplit(address).port or settings.label_studio_port
    listen = ("--internal-host", settings.host, "--port", str(port))
    return Service(
        name="label-studio",
        label="Label Studio",
        command=(program(settings), "start", "--no-browser", *listen),
        where=address,
        healthy=partial(answers, f"{address}/health"),
        environment=environment(address, folder, credentials),
        patience_s=FIRST_START_S,
    )


def data_folder(settings: Settings) -> Path:
    """Return where its database and uploads are kept."""
    return settings.home / "label-studio"


def is_first_start(settings: Settings) -> bool:
    """Tell whether its database is still to be made, which takes about a minute."""
    return not (data_folder(settings) / DATABASE).exists()


def program(settings: Settings) -> str:
    """Return the command: the chosen one, else the one that `make setup` installed."""
    wanted = settings.label_studio_command or str(ENVIRONMENT_PROGRAM)
    if found := shutil.which(wanted):
        return found
    raise ProgramMissing(
        f"Label Studio is not at {wanted}. Install it with `make setup`, name its command "
        "(CYTOLOOP_LABEL_STUDIO_COMMAND), or attach one that runs already (cytoloop connect)."
    )


def environment(address: str, folder: Path, credentials: Credentials) -> dict[str, str]:
    """Return its variables; without the two on local addresses it refuses a backend on loopback."""
    return {
        "LABEL_STUDIO_BASE_DATA_DIR": str(folder),
        "LABEL_STUDIO_HOST": address,
        "LABEL_STUDIO_USERNAME": credentials.email,
        "LABEL_STUDIO_PASSWORD": credentials.password,
        "LABEL_STUDIO_USER_TOKEN": credentials.label_studio_token,
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
        "ML_BLOCK_LOCAL_IP": "false",
        "SSRF_PROTECTION_ENABLED": "false",
        # A lab's machine is often offline, and its images are nobody else's business.
        "LATEST_VERSION_CHECK": "0",
        "COLLECT_ANALYTICS": "False",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
    }
