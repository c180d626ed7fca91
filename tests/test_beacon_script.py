"""The script that browsers get is the one that is written, and small."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from django_pagestats.beacon import script
from tests import servers

ROOT = Path(__file__).resolve().parent.parent
MOST_BYTES = 1_500


def test_it_is_small() -> None:
    assert len(gzip.compress(script.body(), 9)) <= MOST_BYTES


@pytest.mark.once
def test_it_is_made_of_its_source(tmp_path: Path) -> None:
    """As `make script` makes it; what is committed is compared and not changed."""
    servers.require("npm")
    folder = tmp_path / "django_pagestats" / "beacon"
    folder.mkdir(parents=True)
    shutil.copy(script.MINIFIED.with_name("beacon.js"), folder)
    done = subprocess.run(
        ["make", "--file", str(ROOT / "Makefile"), "script"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode:
        servers.missing(f"make script: {' '.join(done.stdout.split())[-200:]}")
    made = (folder / "beacon.min.js").read_bytes()
    assert made == script.body(), "beacon.min.js is not made of beacon.js: `make script`, and commit both"


def test_its_minifier_has_one_version() -> None:
    assert re.search(r"^TERSER = terser@\d+\.\d+\.\d+$", (ROOT / "Makefile").read_text(), re.MULTILINE)
