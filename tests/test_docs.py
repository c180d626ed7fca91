"""What README.md and docs/ promise exists: links, files, commands, targets of make."""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import get_commands, load_command_class
from django.test import override_settings

from django_pagestats.backfill import looking, states
from django_pagestats.checks import queue
from django_pagestats.conf import conf
from django_pagestats.management import telling
from django_pagestats.models import BackfillRun, Reason
from django_pagestats.models.left_out import OF_ATTRIBUTES

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("**/*.md"), *(ROOT / "benchmarks").glob("**/*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
COMMAND = re.compile(r"manage\.py +([a-z_0-9]+)((?: +[^\n`|]*)?)")
FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)


def ids(page: Path) -> str:
    return str(page.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes for the headings of a page."""
    headings = re.findall(r"^#+ +(.+?) *$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_internal_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in LINK.findall(FENCE.sub("", page.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def commands(page: Path) -> Iterator[tuple[str, list[str]]]:
    for name, rest in COMMAND.findall(page.read_text()):
        yield name, re.findall(r"(?<!\S)--[a-z-]+", rest.partition("#")[0])


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_command_and_option_exists(page: Path) -> None:
    known = get_commands()
    unknown = []
    for name, options in commands(page):
        if name not in known:
            unknown.append(name)
            continue
        app = known[name]
        command = load_command_class(app, name) if isinstance(app, str) else app
        parser = command.create_parser("manage.py", name)
        # of a command with verbs, those of its verbs too
        verbs_of = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
        parsers = [parser, *(it for verbs in verbs_of for it in verbs.values())]
        have = {text for it in parsers for action in it._actions for text in action.option_strings}
        unknown += [f"{name} {option}" for option in options if option not in have]
    assert unknown == []


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_target_of_make_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)|^ +make ([a-z-]+)", page.read_text())) <= {("", t) for t in targets} | {
        (t, "") for t in targets
    }


def test_the_checks_themselves_notice() -> None:
    assert LINK.findall("see [this](docs/no.md#x) and [that](https://x.org)") == ["docs/no.md#x", "https://x.org"]
    assert COMMAND.findall("`manage.py nothing --at-all`")[0][0] == "nothing"


def test_no_path_of_a_developers_machine_is_in_the_project() -> None:
    """Only files that git would ship; a home directory or a temporary one in them works on one machine."""
    suspicious = re.compile(r"/(?:home|Users)/\w+/|/root/|/work/\w")
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in project_files()
        for match in suspicious.finditer(path.read_text(errors="replace"))
    ]
    assert found == []


def project_files() -> Iterator[Path]:
    for folder in ("django_pagestats", "testproject", "tests", "benchmarks", "docs"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in {".py", ".md", ".html", ".css", ".js"} and path != Path(__file__):
                yield path
    yield from (ROOT / name for name in ("Makefile", "README.md", "CHANGELOG.md", "pyproject.toml", "tox.ini"))


# -- docs/operations.md


def operations() -> str:
    return (ROOT / "docs" / "operations.md").read_text()


def first_cells(heading: str) -> list[str]:
    """Of the rows of the tables below a heading, without the row of titles."""
    section = re.split(r"^#+ ", operations().split(f"## {heading}\n")[1], maxsplit=1, flags=re.MULTILINE)[0]
    return re.findall(r"(?<=\n)\| (?!---)(.*?) \|(?!.*\n\|---)", section)


def test_operations_has_every_status_and_every_change() -> None:
    told = [cell.replace("`", "") for cell in first_cells("What each state means")]
    changes = [tuple(cell.split(" → ")) for cell in told if "→" in cell]
    assert sorted(changes) == sorted(states.TRANSITIONS)
    assert [cell for cell in told if "→" not in cell] == BackfillRun.Status.values


def test_operations_has_every_exit_status() -> None:
    known = {0, 1, telling.PAUSED, telling.STUCK, telling.INTERRUPTED}
    assert {int(cell) for cell in first_cells("Exit statuses")} == known


def test_operations_quotes_what_is_said() -> None:
    """Reasons to wait in full, and the keys of the status object."""
    sources = "".join(path.read_text() for path in (ROOT / "django_pagestats").rglob("*.py"))
    assert "waits for {" in sources
    cells = first_cells("What each wait means")
    assert len(cells) == 6
    quoted = [text.removeprefix("waits for ").strip() for cell in cells for text in re.findall(r"`([^`]+)`", cell)]
    assert [text for text in quoted if text not in sources] == []
    keys = {key for cell in first_cells("While it runs") for key in re.findall(r"`([a-z_]+)`", cell)}
    assert "cluster_problem" in keys
    assert keys <= {"status", *looking.COMPUTED_FIELDS, *looking.RUN_FIELDS, *looking.SITE_FIELDS}


def test_operations_names_settings_that_exist() -> None:
    named = set(re.findall(r"PAGESTATS_[A-Z_]+", operations()))
    assert len(named) >= 10
    assert named <= {setting.name for setting in conf.all()}


# -- docs/recording.md


def test_recording_has_every_reason_for_leaving_out() -> None:
    section = (ROOT / "docs" / "recording.md").read_text().split("## What is left out\n")[1].split("\n## ")[0]
    told = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", section, re.MULTILINE))
    assert list(told) == list(Reason)
    assert {reason for reason, meaning in told.items() if "an attribute only" in meaning} == OF_ATTRIBUTES


# -- docs/correctness.md


def names_in(path: Path) -> set[str]:
    """The tests and classes of a file, as pytest names them; also those that are left out on this database."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
            inner = node.body if isinstance(node, ast.ClassDef) else []
            found |= {f"{node.name}::{method.name}" for method in inner if isinstance(method, ast.FunctionDef)}
    return found


def test_every_queue_in_the_docs_passes_the_checks() -> None:
    """Each Q_CLUSTER as it is written there; tests/test_cluster.py has real clusters on both brokers."""
    blocks = [
        block
        for page in (ROOT / "README.md", ROOT / "docs" / "settings.md")
        for block in re.findall(r"^(Q_CLUSTER = \{.*?^\})", page.read_text(), re.DOTALL | re.MULTILINE)
    ]
    assert ["redis" in block for block in blocks] == [False, False, True]
    for block in blocks:
        written: dict[str, Any] = {}
        exec(block, written)
        with override_settings(Q_CLUSTER=written["Q_CLUSTER"]):
            assert queue.check_queue() == []


def test_correctness_names_tests_that_exist() -> None:
    named = re.findall(r"(tests/test_\w+\.py)::([\w:]+)", (ROOT / "docs" / "correctness.md").read_text())
    assert len(named) > 100
    known = {name: names_in(ROOT / name) for name, _ in named if (ROOT / name).exists()}
    assert [f"{name}::{test}" for name, test in named if test not in known.get(name, set())] == []


def test_correctness_names_every_control() -> None:
    named = (ROOT / "docs" / "correctness.md").read_text()
    controls = [
        f"{path.relative_to(ROOT)}::{test}"
        for path in sorted((ROOT / "tests").glob("test_*.py"))
        for test in sorted(names_in(path))
        if "test_control_" in test
    ]
    assert len(controls) > 10
    assert [control for control in controls if control not in named] == []
