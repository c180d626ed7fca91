"""A real django-q2 cluster as a child process: the demo's, and the tests'."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from testproject.settings import BASE_DIR

MANAGE = BASE_DIR / "manage.py"


class Cluster:
    """`manage.py qcluster` in a session of its own; a context manager that starts and stops it.

    Only the main process gets SIGTERM: django-q2 hangs when the whole group does. What is left of the group after
    that gets SIGKILL.
    """

    def __init__(self, *, log: Path, environment: Mapping[str, str] | None = None) -> None:
        self.log_path = log
        self.environment = {**os.environ, **(environment or {})}
        self.exit_status: int | None = None

    def __enter__(self) -> Cluster:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self, *, timeout: float = 60) -> None:
        """Return when the cluster takes tasks; raises RuntimeError, with its log, if it does not in time."""
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(MANAGE), "qcluster"],
                cwd=BASE_DIR,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait_until_it_works(time.monotonic() + timeout)
        except BaseException:  # a SIGTERM's SystemExit too: nobody else would stop it
            self.stop()
            raise

    def _wait_until_it_works(self, deadline: float) -> None:
        while not ("pushing tasks" in self.log() and self.worker_pids()):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the cluster did not start:\n{self.log()}")
            time.sleep(0.02)

    def stop(self, *, timeout: float = 60) -> int:
        """Let the running task end; gives the main process's exit status, negative if it had to be killed."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.exit_status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.exit_status = self.process.wait()
        self._kill_group()
        return self.exit_status

    def kill(self) -> None:
        """End all of its processes at once, orphans too, as a machine that is switched off does."""
        self._kill_group()
        self.exit_status = self.process.wait()

    def _kill_group(self) -> None:
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:  # all have ended, as they should
            return

    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def worker_pids(self) -> list[int]:
        """The pids of all workers so far, the latest last."""
        return self._pids("ready for work")

    def pusher_pids(self) -> list[int]:
        """Of those that take tasks from the broker."""
        return self._pids("pushing tasks")

    def monitor_pids(self) -> list[int]:
        """Of those that store results, and tell the broker that a task is done."""
        return self._pids("monitoring")

    def _pids(self, doing: str) -> list[int]:
        return [int(pid) for pid in re.findall(rf"{doing} at (\d+)", self.log())]
