"""Structured logs on standard error: silent when all is well, never a profile's values."""

from __future__ import annotations

import logging
import sys
from typing import Any, Final, TextIO

import structlog

_LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure(level: str, style: str, stream: TextIO | None = None) -> None:
    """Set the process's logging up.

    Args:
        level: debug, info, warning or error.
        style: text, json, or auto (text on a terminal).
        stream: Where to, standard error by default.
    """
    out = stream or sys.stderr
    as_text = style == "text" or (style == "auto" and out.isatty())
    render: Any = (
        structlog.dev.ConsoleRenderer(colors=out.isatty()) if as_text else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        # Standard error is asked for at each line: it may be another one by then, or closed.
        logger_factory=structlog.PrintLoggerFactory(stream) if stream is not None else _to_standard_error,
        cache_logger_on_first_use=False,
    )


def _to_standard_error(*_: Any) -> structlog.PrintLogger:
    return structlog.PrintLogger(sys.stderr)


def get(**bound: Any) -> Any:
    """A logger; what is bound stands in each of its lines."""
    return structlog.get_logger(**bound)
