"""Code in documents is code: Python compiles, JSON parses, shell is shell. The e2e tests run the README's."""

import json
import subprocess

import pytest

from tests.docs.documents import ROOT, Block, blocks, name_of


def identified(block: Block) -> str:
    return f"{name_of(block.document)}: {block.text.strip().splitlines()[0][:40]}"


@pytest.mark.parametrize("block", list(blocks("python")), ids=identified)
def test_python_compiles(block: Block) -> None:
    compile(block.text, name_of(block.document), "exec")


@pytest.mark.parametrize("block", list(blocks("sh")), ids=identified)
def test_shell_is_shell(block: Block) -> None:
    done = subprocess.run(["sh", "-n"], input=block.text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_json_parses() -> None:
    for block in blocks("json"):
        json.loads(block.text)


def test_the_readme_shows_how_to_credit_with_curl_and_with_the_sdk() -> None:
    ours = {
        language: [b.text for b in blocks(language) if b.document == ROOT / "README.md"]
        for language in ("sh", "python")
    }
    assert any("curl " in text for text in ours["sh"])
    assert any("dodopayments" in text for text in ours["python"])
