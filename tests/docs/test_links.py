"""What documents point at exists: files, headings, paths in code spans."""

import re
from pathlib import Path

import pytest

from tests.docs.documents import ROOT, documents, name_of, prose

LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
MADE = {"benchmarks/results/"}
"""By a run, not by a checkout."""

OURS = re.compile(r"(?:events|services|deploy|tests|benchmarks|docs)/[\w./-]*")


@pytest.mark.parametrize("document", documents(), ids=name_of)
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    for target in LINK.findall(prose(document)):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, heading = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        assert file.exists(), f"{target}: there is no such file"
        assert not heading or heading in headings(file), f"{target}: there is no such heading"


@pytest.mark.parametrize("document", documents(), ids=name_of)
def test_every_path_in_a_code_span_exists(document: Path) -> None:
    named = {span for span in CODE.findall(prose(document)) if OURS.fullmatch(span)}
    assert not [span for span in named - MADE if not (ROOT / span).exists()]


def headings(document: Path) -> set[str]:
    """The anchors that a Markdown viewer makes."""
    titles = re.findall(r"^#+ (.+)$", prose(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
