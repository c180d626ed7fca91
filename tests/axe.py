"""axe-core, which looks for what keeps people out of a page: of the npm registry, in one version, once a machine."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import tarfile
from pathlib import Path
from typing import Any

VERSION = "4.14.1"
#: sha512 of the package, as `npm view axe-core@VERSION dist.integrity` gives it
INTEGRITY = "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="
#: what it finds, a line for each element
ASK = """
const [rules, done] = arguments;
document.getAnimations().forEach((it) => it.finish());  // a colour on its way to another is none of the page's
axe.run({resultTypes: ['violations'], preload: false, ...(rules ? {runOnly: rules} : {})}).then(
    (found) => done(found.violations.flatMap((it) => it.nodes.map(
        (node) => `${it.id}: ${node.target} ${node.failureSummary.replaceAll(/\\s+/g, ' ')}`))),
    (error) => done([String(error)]));
"""


def script(folder: Path) -> str:
    """Its script, from the package that `npm pack` puts into this folder, if it is not there yet.

    Raises CalledProcessError where npm finds none, AssertionError for another file than the one that was chosen.
    """
    package = folder / f"axe-core-{VERSION}.tgz"
    if not package.exists():
        command = ["npm", "pack", "--silent", "--pack-destination", str(folder), f"axe-core@{VERSION}"]
        subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=180, check=True)
    packed = package.read_bytes()
    assert base64.b64encode(hashlib.sha512(packed).digest()).decode() == INTEGRITY, package
    with tarfile.open(package) as archive:
        member = archive.extractfile("package/axe.min.js")
        assert member is not None
        return member.read().decode()


def violations(driver: Any, source: str, rules: list[str] | None = None) -> list[str]:
    """What axe finds on the page that a driver shows, by all rules or these: the rule, the element, what would do."""
    if not driver.execute_script("return 'axe' in window"):
        driver.execute_script(source)
    return list(driver.execute_async_script(ASK, rules))
