"""A Label Studio of our own, in its own environment, with its data under the home."""

from __future__ import annotations

import shutil
from pathlib import Path
from urllib.parse import urlsplit

from backend.credentials import FILE_NAME, Credentials
from backend.errors import Refused
from backend.running.errors import ProgramMissing
from backend.running.http import answers
from backend.running.lock import holder
from backend.running.processes import Service
from backend.services import Services
from backend.settings import IS_CHECKOUT, PACKAGE_ROOT, Settings

#: The version of Label Studio whose API is tested.
TESTED = "1.23"
#: Made by `make setup`.
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
        healthy=lambda pid: answers(f"{address}/health"),
        environment=environment(settings.label_studio_browser_url or address, folder, credentials),
        patience_s=FIRST_START_S,
    )


def require_same(services: Services, url: str) -> None:
    """Refuse any other Label Studio than the one whose projects are known.

    Its numbers identify projects, tasks and annotations; in another they mean other things.

    Raises
    ------
    Refused
        The message says which one is known, and how to use another.
    """
    home, by = services.settings.home, holder(services.settings.home)
    known = by.label_studio if by else known_address(services.settings)
    if url.rstrip("/") == known.rstrip("/") or not (by or len(services.projects)):
        return
    raise Refused(
        f"{home} belongs to the Label Studio at {known}, whose projects it knows by their numbers; "
        f"those at {url} are others. Give that one a home of its own: --home DIR, of this command "
        "and all others. Where both are one, name it by the first address, or correct "
        f"label_studio_url in {home / FILE_NAME}."
    )


def known_address(settings: Settings) -> str:
    """Return the kept address; the environment's if none could be kept yet."""
    here = settings.model_copy(update={"label_studio_url": ""})
    kept = Credentials.load_or_create(here).label_studio_url
    if kept or is_first_start(settings):
        return kept or settings.label_studio_address
    return here.label_studio_address


def is_own(settings: Settings, url: str) -> bool:
    """Tell whether an address is that of our own Label Studio, which `cytoloop up` starts."""
    here = settings.model_copy(update={"label_studio_url": ""})
    return url == here.label_studio_address and not is_first_start(settings)


def data_folder(settings: Settings) -> Path:
    """Return the folder of its database and uploads."""
    return settings.home / "label-studio"


def is_first_start(settings: Settings) -> bool:
    """Tell whether its database must still be made, which takes about a minute."""
    return not (data_folder(settings) / DATABASE).exists()


def program(settings: Settings) -> str:
    """Return the command: the chosen one, or that of `make setup`, or one on the path."""
    wanted = settings.label_studio_command or (
        str(ENVIRONMENT_PROGRAM) if IS_CHECKOUT else ENVIRONMENT_PROGRAM.name
    )
    if found := shutil.which(wanted):
        return str(Path(found).absolute())  # services start in the home
    way = f"in an environment of its own (pip install 'label-studio=={TESTED}.*')"
    raise ProgramMissing(
        f"Label Studio's command was not found: {wanted}. Install it "
        f"{'with `make setup`' if IS_CHECKOUT else way}, name its command "
        "(CYTOLOOP_LABEL_STUDIO_COMMAND), or attach one that runs already (cytoloop connect)."
    )


def environment(address: str, folder: Path, credentials: Credentials) -> dict[str, str]:
    """Return its environment; two variables on local addresses let it accept a loopback backend.

    Parameters
    ----------
    address
        Its address for browsers: its pages load their scripts and call the API there.
    """
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
