"""The web process: Flask around the predictor and the store. It does not import torch itself."""

from __future__ import annotations

import atexit

import structlog
from flask import Flask

from backend.errors import QueueError
from backend.http.dashboard import dashboard
from backend.http.effort import effort
from backend.http.exports import exports
from backend.http.matched import matched
from backend.http.parts import Parts, parts
from backend.http.problems import answer_with_problems
from backend.http.protocol import health, protocol
from backend.http.runs import runs
from backend.http.webhooks import webhooks
from backend.learning.poll import start_polling
from backend.learning.problems import Problems
from backend.learning.triggers import requeue_pending
from backend.logs import configure_logging
from backend.services import Services, build_services
from backend.serving.predictor import Predictor
from backend.serving.slot import Slot
from model.threads import wait_quietly

log = structlog.get_logger(__name__)

#: A batch of tasks in JSON is small; a larger body does not come from Label Studio.
LARGEST_BODY = 64 * 2**20


def create_app(services: Services | None = None) -> Flask:
    """Make the web application.

    Parameters
    ----------
    services
        Those of one installation; built from the environment if left out.
    """
    services = services or _from_environment()
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = LARGEST_BODY
    slot = Slot(services.registry, services.settings.device)
    Parts(services, slot, Predictor(services, slot), Problems()).of(app)
    for blueprint in (health, protocol, webhooks, runs, exports, effort, matched, dashboard):
        app.register_blueprint(blueprint)
    answer_with_problems(app)
    for project in services.projects.all()[-slot.capacity :]:
        slot.name(str(project.id))  # begins the load, so that the first task need not wait for it
    _queue_what_waits(services)
    return app


def poll(app: Flask) -> None:
    """Make the app look regularly for what Label Studio's events did not report."""
    with app.app_context():
        services, problems = parts().services, parts().problems
    # Registered last, so run first: a look under way would keep the store open.
    atexit.register(start_polling(services, problems, services.settings.poll_s))


def _queue_what_waits(services: Services) -> None:
    try:
        requeue_pending(services)
    except QueueError as error:
        log.warning("app.redis_away", reason=str(error))


def _from_environment() -> Services:
    wait_quietly()
    services = build_services()
    configure_logging(services.settings.log_level)
    # This writes SQLite's log into the store's file, which can then be copied alone.
    atexit.register(services.engine.dispose)
    return services
