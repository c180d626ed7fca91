"""The names, arguments, options and fields that other people's code may rely on."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from testproject.settings import BASE_DIR

CHECKER = BASE_DIR.parent / "shared" / "check_contract.py"


def test_nothing_is_missing_from_the_contract() -> None:
    if not CHECKER.exists():
        pytest.skip(f"no {CHECKER.name} beside the checkout (../shared)")
    done = subprocess.run(
        [sys.executable, str(CHECKER), "--upto", "dimensions"],
        cwd=BASE_DIR,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "testproject.settings", "PYTHONPATH": str(BASE_DIR)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
