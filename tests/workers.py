"""The workers of pytest-xdist: which tests go to one of them together, and what all of them must know alike.

Each worker has a database of its own. What starts processes, stops servers, or looks at a clock while others work is
done by one worker, one test after another; all other tests go to whichever worker is free.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tests import torture

TESTS = Path(__file__).parent
#: tests of the whole project: once is enough, on any database
PROJECT_TESTS = [
    "test_admin_browser.py",
    "test_api_schemathesis.py",
    "test_axe.py",
    "test_beacon_browser.py",
    "test_beacon_script.py",
    "test_catalogue.py",
    "test_contract.py",
    "test_dashboard_browser.py",
    "test_demo.py",
    "test_docs.py",
    "test_packaging.py",
    "test_workers.py",
]
#: no server has a part in these: pure functions, and commands on SQLite files of their own. Runs on SQLite have them
SERVERLESS_TESTS = [
    "test_beacon_tags.py",
    "test_buckets.py",
    "test_charts.py",
    "test_checks_dashboard.py",
    "test_checks_settings.py",
    "test_commands.py",
    "test_dashboard_ranges.py",
    "test_dashboard_recognised.py",
    "test_dimensions_spreading.py",
    *sorted(path.name for path in TESTS.glob("test_headers_*.py")),
    "test_importing_opening.py",
    "test_recording_country.py",
    "test_stats_visitor_sets.py",
    "test_tally.py",
    "test_update_lists.py",
    "test_verify_totals.py",
]
#: what sits on the seams between us and Django, or Python: enough for a pair of versions of which each has been through
#: all tests with another partner (.ci/run). Whatever Django calls, and how it is asked: the admin, commands, checks,
#: migrations, routers, deletion, requests, the queue and its processes; what Python reads and writes: arguments, times,
#: zones; what is answered and verified; and test_oracle.py, which walks through all of it beside a naive count
SEAM_TESTS = [
    "test_admin.py",
    "test_admin_generations.py",
    "test_admin_run.py",
    "test_admin_sites.py",
    "test_aliases.py",
    "test_backfill_aggregates.py",
    "test_beacon_endpoint.py",
    "test_beacon_tags.py",
    "test_buckets.py",
    "test_checks.py",
    "test_checks_database_settings.py",
    "test_checks_databases.py",
    "test_checks_queue.py",
    "test_checks_servers.py",
    "test_checks_settings.py",
    "test_cluster.py",
    "test_commands.py",
    "test_conf.py",
    "test_dashboard_page.py",
    "test_generations_command.py",
    "test_history.py",
    "test_ids.py",
    "test_import_pageviews.py",
    "test_importing_models.py",
    "test_kept.py",
    "test_migrations.py",
    "test_oracle.py",
    "test_recording.py",
    "test_recording_background.py",
    "test_recording_buffering.py",
    "test_recording_storing.py",
    "test_removal.py",
    "test_stats.py",
    "test_stats_ranges.py",
    "test_tasks.py",
    "test_throttles.py",
    "test_times.py",
    "test_verify.py",
]
CRASH_TESTS = sorted(path.name for path in TESTS.glob("test_crash_*.py"))
#: the files of each group
GROUPS = {
    "processes": [
        *CRASH_TESTS,
        "test_checks_servers.py",
        "test_cluster.py",
        "test_mailing_cluster.py",
        "test_removal.py",
    ],
    "served": ["test_served.py"],
    "latin1": ["test_latin1.py"],  # its database is made once
    "browser": ["test_admin_browser.py", "test_axe.py", "test_dashboard_browser.py"],
    "beacon": ["test_beacon_browser.py"],
    "demo": ["test_demo.py"],
    "packaging": ["test_packaging.py"],  # what they build is built once
}
GROUP_OF = {name: group for group, names in GROUPS.items() for name in names}


def group_of(test: str) -> str:
    """The group of a test by its id; most are a group of their own."""
    return GROUP_OF.get(Path(test.partition("::")[0]).name, test)


def draw() -> None:
    """What depends on chance or the day is decided once, before there are workers: their tests must be the same."""
    os.environ.setdefault("PAGESTATS_TURN", torture.turn())
    os.environ.setdefault("PAGESTATS_DRAW", torture.new_draw())


def leave_out_children() -> None:
    """What a worker starts is not measured: coverage slows it down, and what is killed tells nothing."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        os.environ.pop("COVERAGE_PROCESS_CONFIG", None)


def scheduler(config: Any, log: Any) -> Any:
    """Of the tests to the workers; see the module."""
    from xdist.scheduler import LoadScopeScheduling

    class ByGroups(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    return ByGroups(config, log)
