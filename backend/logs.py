"""Where and how every process of Cytoloop logs: one line an event, on standard error.

Bodies of requests and tokens are never logged: Label Studio sends its users' tokens along. Whoever
logs names what it logs, and names that could hold a secret are blanked here.
"""

from __future__ import annotations

import logging
import sys

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

SECRET = ("token", "password", "secret", "authorization", "body", "payload", "headers", "cookie")
#: Chatty at INFO, and of use to nobody there.
QUIET = ("alembic", "urllib3", "werkzeug", "rq.queue", "PIL")


def configure_logging(level: str = "INFO") -> None:
    """Set up logging for this process, for structlog and for the libraries' own loggers.

    Parameters
    ----------
    level
        Name of the lowest level that is shown.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        hide_secrets,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(shared))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def hide_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Blank each value whose name says that it may hold a secret."""
    return {
        name: "(hidden)" if any(word in name.lower() for word in SECRET) else value
        for name, value in event.items()
    }


def _formatter(shared: list[Processor]) -> structlog.stdlib.ProcessorFormatter:
    # Plain tracebacks: a rich one shows local variables, and among them tokens.
    plain = structlog.dev.plain_traceback
    line = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, line],
    )
