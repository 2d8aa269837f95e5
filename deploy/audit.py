"""Are there known holes in what we install? Asks https://osv.dev for every pinned package and jar: `make audit-deps`.

One database for both, which no tool for Python packages reads for jars. Standard library. Exit codes: 0 nothing known,
1 holes, 2 it could not be checked, which is never taken for "nothing known".
"""

from __future__ import annotations

import json
import re
import sys
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).resolve().parent
URL = "https://api.osv.dev/v1/querybatch"
SECONDS_MAX = 60
AT_ONCE_MAX = 1_000
PAGES_MAX = 20
ACCEPTED: dict[str, str] = {}
"""By its id at osv.dev, with the reason why it does not concern us."""

_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)
_JAR = re.compile(r"^[0-9a-f]{64}\s+([^:\s]+:[^:\s]+):(\S+)$", re.MULTILINE)


class Package(NamedTuple):
    """As osv.dev names it."""

    ecosystem: str
    name: str
    version: str


CANARY = Package("PyPI", "jinja2", "2.4.1")
"""Known to have holes: a database that does not say so says nothing about the others either."""


class Unchecked(Exception):
    """Why nobody knows."""


def packages(folder: Path = FOLDER) -> list[Package]:
    """Everything that is pinned."""
    pinned = _PINNED.findall((folder / "requirements.txt").read_text() + (folder / "uv.txt").read_text())
    jars = _JAR.findall((folder / "kafka.sha256").read_text())
    if not pinned or not jars:
        raise Unchecked("requirements.txt or kafka.sha256 names nothing")
    return [Package("PyPI", *one) for one in pinned] + [Package("Maven", *one) for one in jars]


def holes(wanted: list[Package], url: str = URL) -> dict[Package, list[str]]:
    """The advisories of each package that has some.

    Raises:
        Unchecked: the database does not answer, or not as it must.
    """
    asked = [CANARY, *wanted]
    if len(asked) > AT_ONCE_MAX:
        raise Unchecked(f"more than {AT_ONCE_MAX} packages")
    found = _known(asked, url)
    if not found.pop(CANARY):
        raise Unchecked(f"{url} knows nothing of a package that has holes")
    open_ones = {package: [one for one in ids if one not in ACCEPTED] for package, ids in found.items()}
    return {package: ids for package, ids in open_ones.items() if ids}


def _known(asked: list[Package], url: str) -> dict[Package, list[str]]:
    """Of each package all pages: an answer that has more to say names the next one."""
    found: dict[Package, list[str]] = {package: [] for package in asked}
    pages = dict.fromkeys(asked, "")
    for _ in range(PAGES_MAX):
        answers = dict(zip(pages, _ask(pages, url), strict=True))
        for package, answer in answers.items():
            found[package] += [str(one["id"]) for one in answer.get("vulns", ())]
        pages = {package: answer.get("next_page_token", "") for package, answer in answers.items()}
        pages = {package: token for package, token in pages.items() if token}
        if not pages:
            return found
    raise Unchecked(
        f"the advisory database {url} has more than {PAGES_MAX} pages of {next(iter(pages)).name}"
    )


def _ask(asked: dict[Package, str], url: str) -> list[dict[str, Any]]:
    """One page of each: that of its token, the first where that is empty."""
    queries = [
        {"package": {"ecosystem": one.ecosystem, "name": one.name}, "version": one.version}
        | ({"page_token": token} if token else {})
        for one, token in asked.items()
    ]
    request = urllib.request.Request(  # noqa: S310 - the address is ours
        url, json.dumps({"queries": queries}).encode(), {"content-type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=SECONDS_MAX) as answer:  # noqa: S310
            results = json.load(answer)["results"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Unchecked(f"the advisory database {url} does not answer as it must: {error}") from error
    if not isinstance(results, list) or len(results) != len(asked):
        raise Unchecked(f"the advisory database {url} answered about other packages than were asked for")
    return results


def main(url: str = URL) -> int:
    """Print what was found; the exit code."""
    try:
        wanted = packages()
        found = holes(wanted, url)
    except Unchecked as error:
        print(f"audit-deps: NOT CHECKED: {error}", file=sys.stderr)
        return 2
    for package, ids in found.items():
        where = " ".join(f"https://osv.dev/vulnerability/{one}" for one in ids)
        print(f"{package.ecosystem} {package.name} {package.version}: {where}")
    print(f"audit-deps: {len(wanted)} packages and jars, {len(found)} with known holes")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
