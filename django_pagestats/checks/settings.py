"""What can be wrong with our own settings."""

from __future__ import annotations

from typing import Any

from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.core.checks import CheckMessage
from django.utils.module_loading import import_string

from django_pagestats.checks.messages import Apps, error, warning
from django_pagestats.conf import Conf, Setting, conf


def check_settings(app_configs: Apps = None, **kwargs: Any) -> list[CheckMessage]:
    found = [invalid_setting(setting, complaint) for setting in conf.all() if (complaint := setting.complaint())]
    known = {setting.name for setting in conf.all()}
    found += [unknown_setting(name) for name in dir(settings) if name.startswith("PAGESTATS_") and name not in known]
    if not Conf.THROTTLE.complaint():
        reasons = ((path, why_not_imported(path)) for path in conf.THROTTLE)
        found += [throttle_unknown(path, reason) for path, reason in reasons if reason]
    if not settings.USE_TZ:
        found.append(time_zones_off())
    return found


def why_not_imported(path: str) -> str:
    try:
        import_string(path)
    except Exception as error:  # whatever the module does when it is imported
        return f"{type(error).__name__}: {error}"
    return ""


def why_not_called(path: str) -> str:
    """What keeps a dotted path from naming a callable of the site's that is asked; empty: nothing."""
    if reason := why_not_imported(path):
        return f"cannot be imported ({reason})"
    found = import_string(path)
    if not callable(found):
        return "cannot be called"
    return "is a coroutine function, which nobody would await" if iscoroutinefunction(found) else ""


def invalid_setting(setting: Setting[Any], complaint: str) -> CheckMessage:
    return error(1, f"{setting.name} {complaint}.", f"Correct {setting.name}, or remove it for its default.")


def unknown_setting(name: str) -> CheckMessage:
    return warning(3, f"There is no setting {name}.", "Correct its name, or remove it; docs/settings.md has them all.")


def throttle_unknown(path: str, reason: str) -> CheckMessage:
    return error(
        4,
        f"PAGESTATS_THROTTLE names {path!r}, which cannot be imported ({reason}): a run would wait for ever.",
        'Correct it; ready-made are "django_pagestats.throttles.replica_lag", ".active_connections" and ".hours".',
    )


def time_zones_off() -> CheckMessage:
    return error(
        2,
        "USE_TZ is False: page views need to know which instant they were recorded at.",
        "Write USE_TZ = True. PAGESTATS_TIME_ZONE, by default TIME_ZONE, is the zone of the statistics' days.",
    )
