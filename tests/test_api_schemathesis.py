"""The read API on a real server, asked whatever its OpenAPI document allows, and much that it does not."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest

from django_pagestats import folding
from django_pagestats.api.tokens import create_token
from testproject.load import Server, gunicorn
from tests.factories import insert_page_views, make_page_views
from tests.recorders import site_environment
from tests.servers import require
from tests.test_api import HOSTILE

pytestmark = pytest.mark.django_db(transaction=True)

#: what the tool may take, on a machine where much else is tested: alone it takes a tenth
SECONDS = 200


def test_a_real_server_keeps_what_the_document_says(no_settling: None, tmp_path: Path) -> None:
    require("schemathesis")
    make_page_views(300, with_attributes=True)
    folding.keep_up("default", seconds=60)
    at = datetime(2025, 3, 20, tzinfo=timezone.utc)
    insert_page_views((path, f"key{n}", at, {"source": "direct"}) for n, path in enumerate(HOSTILE))
    _, secret = create_token("schemathesis", now=datetime.now(timezone.utc))
    with Server(
        gunicorn("--workers", "2", "--limit-request-line", "0"), site_environment(), tmp_path / "server.log"
    ) as server:
        done = subprocess.run(
            [
                str(Path(sys.executable).with_name("schemathesis")),
                "run",
                f"http://127.0.0.1:{server.port}/numbers/openapi.json",
                "--header",
                f"Authorization: Bearer {secret}",
                "--checks=all",
                # no schema says that a range begins before its end, which dimensions there are, or what a cursor is
                "--exclude-checks=positive_data_acceptance",
                "--workers=2",
                "--phases=examples,coverage,fuzzing",
                "--max-examples=6",
                "--seed=1",
                "--generation-deterministic",
                "--no-color",
            ],
            cwd=tmp_path,  # where it leaves what it remembers
            env={**os.environ, "PYTHONWARNINGS": ""},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
        )
    assert done.returncode == 0, done.stdout + server.log.read_text()[-5_000:]
    assert "No issues found" in done.stdout, done.stdout
