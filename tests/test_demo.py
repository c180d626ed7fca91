"""The demo, with fewer page views."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from testproject.cluster import MANAGE
from tests.cluster import wait_until


def demo(database: Path, page_views: int) -> subprocess.Popen[str]:
    environment = {**os.environ, "PAGESTATS_DB": "sqlite", "PAGESTATS_DB_NAME": str(database)}
    return subprocess.Popen(
        [sys.executable, "-W", "error", str(MANAGE), "demo", f"--page-views={page_views}"],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text() if Path("/proc").exists() else True


def cluster_pids(log: Path) -> list[int]:
    return [int(pid) for pid in re.findall(r" at (\d+)$", log.read_text(), re.MULTILINE)] if log.exists() else []


def test_the_demo_ends_by_itself_with_exact_numbers(tmp_path: Path) -> None:
    process = demo(tmp_path / "demo.sqlite3", 4_000)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert re.search(r"page views +4,000\n", output), output
    assert re.search(r"not folded yet +0\n", output), output
    assert "The cluster has ended with status 0" in output
    assert "differences: 0" in output
    assert "user demo, password demo" in output
    assert "http://127.0.0.1:8000/admin/django_pagestats/dashboard/" in output
    pids = cluster_pids(tmp_path / "qcluster.log")
    assert pids and not any(map(is_alive, pids))


def test_a_demo_that_is_stopped_takes_its_cluster_along(tmp_path: Path) -> None:
    process = demo(tmp_path / "demo.sqlite3", 20_000)
    log = tmp_path / "qcluster.log"
    wait_until(lambda: len(cluster_pids(log)) >= 3 or process.poll() is not None, "a cluster", timeout=120)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1, output
    assert len(cluster_pids(log)) >= 3, output
    wait_until(lambda: not any(map(is_alive, cluster_pids(log))), "the end of the cluster")
