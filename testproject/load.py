"""Real servers of a site, and visitors who load its pages, for tests and benchmarks: with Python's own means."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType

BASE_DIR = Path(__file__).resolve().parent.parent
SECONDS_TO_START = 60
SECONDS_TO_END = 20
#: what a browser sends with a page that somebody has opened
BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language": "en-GB,en;q=0.9",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "none",
}


def gunicorn(*options: str) -> list[str]:
    words = [sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:{port}", "--log-level", "warning", *options]
    return [*words, "tests.served:application"]


def uvicorn(*options: str) -> list[str]:
    words = [sys.executable, "-m", "uvicorn", "--host", "127.0.0.1", "--port", "{port}", "--log-level", "warning"]
    return [*words, *options, "tests.served:asgi_application"]


class Server:
    """A server with its workers: a context manager that starts it, and stops it if it runs still."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        with closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.command = [word.format(port=self.port) for word in command]
        self.environment = environment
        self.log = log

    def __enter__(self) -> Server:
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=BASE_DIR,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + SECONDS_TO_START
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                raise RuntimeError(f"{self.command} does not start:\n{self.log.read_text()}")
            time.sleep(0.05)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.stop(signal.SIGKILL)

    def _answers(self) -> bool:
        """By a page that there is not."""
        try:
            with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)) as connection:
                connection.request("GET", "/nothing/")
                return connection.getresponse().status == 404
        except OSError:
            return False

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Send a signal, and wait until it has ended, and its workers have, who may outlive it and write."""
        os.kill(self.process.pid, number)
        self.process.wait(SECONDS_TO_START)
        deadline = time.monotonic() + SECONDS_TO_END
        while self._has_workers():
            if time.monotonic() > deadline:
                os.killpg(self.process.pid, signal.SIGKILL)
            time.sleep(0.05)

    def _has_workers(self) -> bool:
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return False
        return True


class Load:
    """Some visitors who load pages one after the other, all at the same time."""

    def __init__(self, port: int, pages: Sequence[str], *, visitors: int = 4, keeps_alive: bool = True) -> None:
        self.port = port
        self.pages = pages
        self.visitors = visitors
        self.keeps_alive = keeps_alive
        #: how often each page was answered, and what it said
        self.answered: Counter[str] = Counter()
        self.bodies: Counter[bytes] = Counter()
        self.failed: list[str] = []
        self._lock = threading.Lock()

    def run(self, *, requests: int | None = None, seconds: float = 3600.0) -> float:
        """So many requests of each visitor, or so many seconds of them; how many a second were answered."""
        began = time.perf_counter()
        threads = [
            threading.Thread(target=self._visit, args=(number, requests, began + seconds))
            for number in range(self.visitors)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(self.answered.values()) / (time.perf_counter() - began)

    def _visit(self, number: int, requests: int | None, until: float) -> None:
        answered: Counter[str] = Counter()
        bodies: Counter[bytes] = Counter()
        failed: list[str] = []
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        done = 0
        while (requests is None or done < requests) and time.perf_counter() < until:
            page = self.pages[(number + done) % len(self.pages)]
            done += 1
            try:
                connection.request("GET", page, headers=BROWSER)
                response = connection.getresponse()
                body = response.read()
            except (OSError, http.client.HTTPException) as error:  # as when a server ends a connection that it kept
                failed.append(f"{page}: {type(error).__name__}: {error}")
                connection.close()
                continue
            if not self.keeps_alive:
                connection.close()
            if response.status == 200:
                answered[page] += 1
                bodies[body] += 1
            else:
                failed.append(f"{page}: {response.status}")
        connection.close()
        with self._lock:
            self.answered += answered
            self.bodies += bodies
            self.failed += failed
