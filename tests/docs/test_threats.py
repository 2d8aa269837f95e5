"""Each control against a threat names the test that holds it, or says that there is none."""

import re

from tests.docs.documents import ROOT, rows

SECURITY = ROOT / "docs" / "security.md"
TEST = re.compile(r"`(tests/[\w/]+\.py)`")


def test_every_control_names_its_test() -> None:
    threats = [row for row in rows(SECURITY) if row[0] in tuple("STRIDE")]
    assert {row[0] for row in threats} == set("STRIDE")
    for letter, threat, control, tests in threats:
        named = TEST.findall(tests)
        assert named or control.startswith("none"), f"{letter} {threat}: {control}"
        assert all((ROOT / name).is_file() for name in named)
