"""The command that brings the vendored lists up to date, on repositories made here."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOBODY = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
AUTHOR = {f"GIT_{who}_{what}": "nobody@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
DATES = {"GIT_AUTHOR_DATE": "2026-01-31T09:30:00Z", "GIT_COMMITTER_DATE": "2026-01-31T09:30:00Z"}


@pytest.fixture
def update_lists(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("update_lists", ROOT / "tools" / "update_lists.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "FEWEST_HOSTS", 3)
    return module


def repository(folder: Path, text: str, **others: str) -> str:
    """A repository with such a list, or with other files; gives its address."""
    folder.mkdir()
    for name, content in (others or {"spammers.txt": text}).items():
        (folder / name).write_text(content)
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "list"]):
        subprocess.run(["git", *words], cwd=folder, check=True, env={**os.environ, **NOBODY, **AUTHOR, **DATES})
    return folder.as_uri()


def test_hosts_in_order_and_the_version_of_the_list(update_lists: ModuleType, tmp_path: Path) -> None:
    address = repository(tmp_path / "list", "b.example\nA.example\n\nb.example\nc.example\n")
    lines = update_lists.referrer_spam(address).splitlines()
    assert [line for line in lines if not line.startswith("#")] == ["a.example", "b.example", "c.example"]
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=tmp_path / "list", check=True, stdout=subprocess.PIPE, text=True
    )
    assert f"# Version: commit {head.stdout.strip()} of 2026-01-31" in lines


@pytest.mark.parametrize(
    "text",
    ["a.example\nb.example\n", "a.example\nb.example\nc.example\n<html>\n", "a.example\nb.example\nhttp://c.d\n"],
)
def test_what_cannot_be_the_list_is_refused(update_lists: ModuleType, text: str) -> None:
    with pytest.raises(ValueError, match="host"):
        update_lists.hosts_of(text)


SEARCH = """Google:
  -
    urls:
      - www.google.com
      - 'google.{}'
      - "{}.google.com"
      - google.com/cse
    params:
      - q
      - '/search\\/([^\\/]+)/'
    charsets:
      - utf-8
Ask:
  -
    urls:
      - ask.com
"""
SOCIAL = "Face:\n  - face.example\n  - ask.com\n\n'A name':\n  - x.example/part\n  - b.example\n"
AI = "Chat:\n  - chat.example\n  - B.example\n"
LISTED = [
    "ai b.example", "ai chat.example", "search google.com", "search google.{}", "search {}.google.com",
    "social ask.com", "social face.example",
]  # fmt: skip


def test_each_host_of_a_channel_once_and_no_parts_of_sites(update_lists: ModuleType, tmp_path: Path) -> None:
    update_lists.FEWEST_OF_CHANNEL = {"ai": 2, "social": 3, "search": 4}
    files = {"AIAssistants.yml": AI, "Socials.yml": SOCIAL, "SearchEngines.yml": SEARCH}
    lines = update_lists.channels(repository(tmp_path / "lists", "", **files)).splitlines()
    assert [line for line in lines if not line.startswith("#")] == LISTED
    assert any("of 2026-01-31" in line for line in lines)
    for name, channel in (("ai", "ai"), ("social", "social"), ("search", "search")):
        with pytest.raises(ValueError, match=f"hosts of {channel}"):
            update_lists.channel_lines({"ai": AI, "social": SOCIAL, "search": SEARCH, name: "<html>"})


def test_it_writes_the_files_that_are_read(update_lists: ModuleType) -> None:
    folder = ROOT / "django_pagestats" / "headers"
    for target, name, header in (
        (update_lists.TARGET, "referrer_spam.txt", update_lists.HEADER),
        (update_lists.CHANNELS_TARGET, "channels.txt", update_lists.CHANNELS_HEADER),
    ):
        assert target == folder / name
        heading = [line.partition("{")[0] for line in header.splitlines()]
        lines = target.read_text(encoding="utf-8").splitlines()
        assert all(line.startswith(begin) for line, begin in zip(lines, heading, strict=False))
