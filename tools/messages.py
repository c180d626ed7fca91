"""Brings the catalogues up to date: `make messages`, with GNU gettext, after a text of the package has changed.

What is new is left untranslated in the `.po` files: translate it, and run this again, which compiles them. Both files
are in the repository, so that an install needs no gettext.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "django_pagestats"


def extract(package: Path, language: str) -> Path:
    """Bring the catalogue of a language up to date with the texts of a package's folder; gives its path."""
    # no lines of the source, which would change with each commit; no settings, as the folder may be a copy
    command = ["makemessages", "--locale", language, "--no-location", "--no-obsolete", "--verbosity", "0"]
    subprocess.run([sys.executable, "-m", "django", *command], cwd=package, check=True, env=_without_settings())
    catalogue = package / "locale" / language / "LC_MESSAGES" / "django.po"
    lines = catalogue.read_text(encoding="utf-8").splitlines(keepends=True)
    # the time of day says nothing, and would make each run another file
    catalogue.write_text("".join(it for it in lines if not it.startswith('"POT-Creation-Date')), encoding="utf-8")
    return catalogue


def _without_settings() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}


def compile_to(catalogue: Path, target: Path) -> None:
    """Compile a catalogue, with the checks of gettext; raises CalledProcessError."""
    command = ["msgfmt", "--check-format", "--check-header", "--no-hash", "--output-file", str(target), str(catalogue)]
    subprocess.run(command, check=True)


def main() -> None:
    for folder in sorted((PACKAGE / "locale").iterdir()):
        catalogue = extract(PACKAGE, folder.name)
        compile_to(catalogue, catalogue.with_suffix(".mo"))
        print(catalogue.relative_to(PACKAGE.parent))


if __name__ == "__main__":
    main()
