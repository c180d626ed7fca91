"""Whether the middleware and the beacon record at all."""

from __future__ import annotations

import logging

from django_pagestats.conf import conf
from django_pagestats.recording import background

logger = logging.getLogger(__name__)

#: why recording was off when this process asked last
_told = ""


def is_on() -> bool:
    """Whether recording is on; a line in the log says when it is off, and why, once in a process."""
    global _told
    why = why_off()
    if why and why != _told:
        logger.info("Page views are not recorded: %s.", why)
    _told = why
    return not why


def why_off() -> str:
    """Why recording is off; empty where it is on."""
    if conf.ENABLED is None:
        testing = "a test environment is set up (PAGESTATS_ENABLED = True records in tests too)"
        return testing if background.is_testing() else ""
    return "" if conf.ENABLED else "PAGESTATS_ENABLED is False"


def forget() -> None:
    """Tell again why recording is off; for tests."""
    global _told
    _told = ""
