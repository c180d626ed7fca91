"""Fits the README to the package index, where links to files beside it lead nowhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

PICTURE = re.compile(r"!\[([^\]]*)\]\((?![a-z]+:)([^)]+)\)\n*")
LINK = re.compile(r"\[([^\]]+)\]\((?![a-z]+:|#)([^)]+)\)")


def for_index(readme: str, repository: str) -> str:
    """Links to files of the repository made whole; without an address they are plain text with the file's name.

    Pictures are there with an address only.
    """
    readme = PICTURE.sub(rf"![\1]({repository}/raw/main/\2)\n\n" if repository else "", readme)
    if repository:
        return LINK.sub(rf"[\1]({repository}/blob/main/\2)", readme)
    return LINK.sub(lambda link: f"{link[1]} (`{link[2].partition('#')[0]}`)", readme)


def urls(repository: str) -> dict[str, str]:
    if not repository:
        return {}
    return {
        "Source": repository,
        "Documentation": f"{repository}/tree/main/docs",
        "Changelog": f"{repository}/blob/main/CHANGELOG.md",
    }


class CustomMetadataHook(MetadataHookInterface):
    """Sets `readme` and `urls` by the address in [tool.hatch.metadata.hooks.custom]."""

    def update(self, metadata: dict[str, Any]) -> None:
        repository = self.config["repository"].rstrip("/")
        readme = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": for_index(readme, repository)}
        metadata["urls"] = urls(repository)
