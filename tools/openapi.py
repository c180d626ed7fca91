"""Write the OpenAPI document of the read API to docs/openapi.json: `make openapi`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "openapi.json"
#: where the docs mount it
URL = "/statistics-api"


def text() -> str:
    from django_pagestats.api.openapi import document

    return json.dumps(document(URL), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    import django

    sys.path.insert(0, str(ROOT))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "testproject.settings")
    django.setup()
    TARGET.write_text(text())
    print(f"{TARGET.relative_to(ROOT)} is written.")
