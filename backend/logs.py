"""Logging for every process of Cytoloop: one line for each event, on standard error.

Request bodies and tokens are never logged: Label Studio sends its users' tokens along. Each logged
value has a name, and values whose names could mean a secret are blanked here.
"""

from __future__ import annotations

import logging
import sys

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

SECRET = ("token", "password", "secret", "authorization", "body", "payload", "headers", "cookie")
#: Loggers that are chatty at INFO without being useful.
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
    """Blank each value whose name could mean a secret."""
    return {
        name: "(hidden)" if any(word in name.lower() for word in SECRET) else value
        for name, value in event.items()
    }


def _formatter(shared: list[Processor]) -> structlog.stdlib.ProcessorFormatter:
    # Plain tracebacks: rich ones show local variables, among them tokens.
    plain = structlog.dev.plain_traceback
    line = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, line],
    )
