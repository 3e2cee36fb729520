"""How our own programs log: to stderr, one event a line, JSON where nobody is watching."""

import logging
import sys

import structlog

_CONSOLE_LEVEL = logging.INFO


def configure() -> None:
    """Set structlog up for this process; the standard library's loggers keep to warnings."""
    watched = sys.stderr.isatty()
    renderer = structlog.dev.ConsoleRenderer() if watched else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([] if watched else [structlog.processors.format_exc_info]),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_CONSOLE_LEVEL),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
