"""The built wheel in a foreign project: installed into a new environment, with settings that are not ours."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from packaging.metadata import Metadata

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "django_pagestats"
FOREIGN_SETTINGS = """

INSTALLED_APPS += ["django_q", "django_pagestats"]
STATIC_ROOT = BASE_DIR / "collected"
TIME_ZONE = "Europe/Berlin"
DATABASES["default"]["OPTIONS"] = {
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
}
Q_CLUSTER = {"name": "foreign", "orm": "default", "workers": 1, "queue_limit": 1, "timeout": 60, "retry": 240}
"""
INSERT = """
from django.db import connection
with connection.cursor() as cursor:
    cursor.executemany(
        "INSERT INTO django_pagestats_pageview (path, session_key, viewed_at) VALUES (%s, %s, %s)",
        [(f"/page-{n % 7}", f"visitor-{n % 50}", f"2025-03-{n % 28 + 1:02} 12:00:00") for n in range(1_000)],
    )
"""
LOOK = """
from django.apps import apps
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import reverse
from django_pagestats import stats

summary = stats.summary()
assert (summary.page_views, summary.visitors, summary.paths, summary.pending) == (1_000, 50, 7, 0), summary
client = Client(headers={"host": "localhost"})
client.force_login(get_user_model().objects.create_superuser("root", "", "x"))
for model in apps.get_app_config("django_pagestats").get_models():
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"
    try:
        url = reverse(name)
    except Exception:
        continue
    assert client.get(url).status_code == 200, url
    print("200", url)
run = apps.get_model("django_pagestats.BackfillRun").objects.get()
url = reverse("admin:django_pagestats_backfillrun_change", args=[run.pk])
assert client.get(url).status_code == 200, url
print("200", url)
"""


def run(*command: object, cwd: Path, script: str | None = None) -> str:
    """Run a command away from this checkout; give its output, or fail with it."""
    foreign = {name: value for name, value in os.environ.items() if not name.startswith(("DJANGO_", "PYTHON", "COV"))}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=foreign,
        input=script or "",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}"
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the built sdist, and the wheel built from it."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    return next(dist.glob("*.whl"))


def package_files() -> set[str]:
    """Every file of the package that is no Python and no left-over."""
    return {
        str(path.relative_to(ROOT))
        for path in PACKAGE.rglob("*")
        if path.is_file() and path.suffix != ".pyc" and "__pycache__" not in path.parts
    }


def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name and ".data/" not in name}
    assert names == package_files()
    assert "django_pagestats/py.typed" in names
    assert "django_pagestats/locale/de/LC_MESSAGES/django.mo" in names
    assert "django_pagestats/migrations/0001_initial.py" in names
    for kind in ("templates", "static"):
        assert any(name.startswith(f"django_pagestats/{kind}/") for name in names), f"no {kind} in the wheel"


def test_the_sdist_can_be_tested(dist: Path) -> None:
    with tarfile.open(next(dist.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {
        "hatch_build.py",
        "tests/factories.py",
        "testproject/settings.py",
        "manage.py",
        "Makefile",
        "tox.ini",
        "LICENSE",
    } <= names


def test_the_metadata_is_valid(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith("/METADATA"))
        metadata = Metadata.from_email(archive.read(name), validate=True)
    assert metadata.name == "django-pagestats"
    assert set(metadata.provides_extra or ()) == {"country", "mysql", "postgres", "redis", "wagtail", "zstd"}
    assert metadata.license_expression == "MIT"
    assert metadata.description_content_type == "text/markdown"
    links = re.findall(r"\]\(([^)]+)\)", metadata.description or "")
    assert links and all(link.startswith(("https://", "#")) for link in links), "the index has no file beside it"


def test_an_address_makes_whole_links_and_urls() -> None:
    sys.path.insert(0, str(ROOT))
    try:
        import hatch_build
    finally:
        sys.path.remove(str(ROOT))
    text = "[a](docs/a.md#b), [c](https://example.com), [d](#d)"
    assert hatch_build.for_index(text, "") == "a (`docs/a.md`), [c](https://example.com), [d](#d)"
    base = "https://example.com/pagestats"
    assert hatch_build.for_index(text, base).startswith(f"[a]({base}/blob/main/docs/a.md#b), [c](https://example.com),")
    picture = "Text.\n\n![a picture](docs/images/p.png)\n\n## More"
    assert hatch_build.for_index(picture, "") == "Text.\n\n## More"
    assert f"![a picture]({base}/raw/main/docs/images/p.png)\n\n## More" in hatch_build.for_index(picture, base)
    assert hatch_build.urls("") == {}
    assert all(url.startswith(base) for url in hatch_build.urls(base).values())


def test_the_wheel_brings_the_pages_that_messages_name(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name.partition("/share/doc/django-pagestats/")[2] for name in archive.namelist()}
    pages = {str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*") if path.is_file()}
    assert names - {""} == {*pages, "README.md", "CHANGELOG.md"}


def test_the_wheel_works_in_a_foreign_project(wheel: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "venv", "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel, cwd=tmp_path)
    where = run(python, "-c", "import django_pagestats; print(django_pagestats.__file__)", cwd=tmp_path)
    assert where.startswith(str(tmp_path)), where
    run(python, "-m", "django", "startproject", "foreign", tmp_path, cwd=tmp_path)
    with (tmp_path / "foreign" / "settings.py").open("a") as settings:
        settings.write(FOREIGN_SETTINGS)

    def manage(*words: object, script: str | None = None) -> str:
        return run(python, "-W", "error", "manage.py", *words, cwd=tmp_path, script=script)

    assert "no issues" in manage("check")
    manage("migrate", "-v0")
    manage("shell", script=INSERT)
    manage("backfill_aggregates", "--sync")
    manage("verify_aggregates")
    assert "200 /admin/django_pagestats/pageview/" in manage("shell", script=LOOK)
    collected = manage("collectstatic", "--noinput")
    assert (tmp_path / "collected" / "django_pagestats").is_dir(), collected
