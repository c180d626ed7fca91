"""Which servers the tests can reach: a plugin that pytest loads before Django is set up (`-p tests.servers`).

A run is for one database, PAGESTATS_DB. If its server is missing, every test of the run is skipped, with the reason;
in CI (the variable CI is set) the run fails instead.
"""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Callable
from typing import Any, NoReturn

import pytest

SECONDS_TO_ANSWER = 5


def in_ci() -> bool:
    return os.environ.get("CI", "") not in ("", "0", "false")


def complaint(kind: str) -> str | None:
    """Why the server of this kind cannot be used, or None."""
    connect = CONNECT.get(kind)
    if connect is None:
        return None if kind == "sqlite" else f"PAGESTATS_DB={kind!r}: sqlite, postgresql or mariadb would do"
    try:
        connect()
    except ImportError as error:
        return f"{kind}: no driver ({error})"
    except Exception as error:
        return f"{kind}: not reachable ({' '.join(str(error).split())})"
    return None


def require(kind: str) -> None:
    """Skip the test that calls this if the server is missing; fail it in CI."""
    if reason := complaint(kind):
        missing(reason)


def missing(reason: str) -> NoReturn:
    """Skip the test that calls this; fail it in CI."""
    if in_ci():
        pytest.fail(reason)
    pytest.skip(reason)


def connect_redis() -> Any:
    """A client of the Redis that the cluster tests use; the caller closes it."""
    import redis

    client = redis.Redis(**_settings().REDIS, socket_connect_timeout=SECONDS_TO_ANSWER)
    try:
        client.ping()
    except redis.RedisError:
        client.close()
        raise
    return client


def find_browser() -> tuple[str, str]:
    """The paths of Chromium and of its driver, of one version, as Debian's chromium and chromium-driver bring them."""
    import selenium  # noqa: F401 - nothing can be driven without it

    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        missing = "chromedriver" if browser else "neither chromium nor google-chrome"
        raise FileNotFoundError(f"{missing} on PATH")
    return browser, driver


def find_npm() -> str:
    """npm's path, which has npx beside it: Debian's package of that name, or Node's own."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("npx") is None:
        raise FileNotFoundError("no npm, or no npx, on PATH")
    return npm


def find_schemathesis() -> None:
    """What asks an API whatever its document allows: of the group "api", which `make test` installs."""
    import schemathesis  # noqa: F401


def _connect(kind: str) -> None:
    """As the administrator; also make the user as whom the tests work."""
    from tests import accounts

    accounts.connect(kind, seconds=SECONDS_TO_ANSWER).close()
    accounts.settle()


def _settings() -> Any:
    return importlib.import_module("testproject.settings")


CONNECT: dict[str, Callable[[], Any]] = {
    "chromium": find_browser,
    "npm": find_npm,
    "schemathesis": find_schemathesis,
    "mariadb": lambda: _connect("mariadb"),
    "postgresql": lambda: _connect("postgresql"),
    "redis": lambda: connect_redis().close(),
}
MISSING = pytest.StashKey[str]()
#: tells xdist's workers what the process that starts them has found
MISSING_VARIABLE = "PAGESTATS_MISSING"


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    missing = os.environ.get(MISSING_VARIABLE) or complaint(os.environ.get("PAGESTATS_DB", "sqlite"))
    if missing is None:
        importlib.reload(_settings())  # now with the user as whom the tests work
        return
    if in_ci():
        raise pytest.UsageError(f"{missing}; in CI no server may be missing")
    early_config.stash[MISSING] = os.environ[MISSING_VARIABLE] = missing
    # Django must be set up to collect the tests, and without the driver it can be on SQLite only
    os.environ["PAGESTATS_DB"] = "sqlite"
    importlib.reload(_settings())


def pytest_configure(config: pytest.Config) -> None:
    if MISSING in config.stash:  # one line says it all, see below
        config.option.reportchars = config.option.reportchars.replace("a", "fE")


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if missing := config.stash.get(MISSING, ""):
        terminalreporter.write_line(f"SKIPPED, all of them: {missing}")


def pytest_report_header(config: pytest.Config) -> str:
    return f"page views in: {config.stash.get(MISSING, '') or os.environ.get('PAGESTATS_DB', 'sqlite')}"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    missing = config.stash.get(MISSING, None)
    for item in items if missing else ():
        item.add_marker(pytest.mark.skip(reason=missing))
