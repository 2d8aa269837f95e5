"""What documents tell people to type is what the command line takes."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main

from services.cli import app
from tests.docs.documents import ROOT, Block, blocks, documents, name_of, prose

INLINE = re.compile(r"`wallet-ledger ([^`]+)`")
MAKE = re.compile(r"`make ([a-z-]+)[^`]*`")
ASSIGNMENT = re.compile(r"[A-Z_]+=.*")


def lines(block: Block) -> list[list[str]]:
    """The words of each command, without comments and assignments before it."""
    found = []
    for line in block.text.replace("\\\n", " ").splitlines():
        try:
            words = shlex.split(line, comments=True)
        except ValueError:
            continue  # a quote over several lines
        while words and ASSIGNMENT.fullmatch(words[0]):
            words = words[1:]
        if words:
            found.append(words[: words.index(">>")] if ">>" in words else words)
    return found


def resolved(words: list[str]) -> tuple[Any, list[str]]:
    """The command that these words name, and what is left of them."""
    command: Any = typer.main.get_command(app)
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        assert words[0] in command.commands, f"there is no command {words[0]}"
        command, words = command.commands[words[0]], words[1:]
    return command, words


def shell_commands() -> list[Any]:
    return [
        pytest.param(words[1:], id=" ".join([name_of(block.document), *words[1:3]]))
        for block in blocks("sh")
        for words in lines(block)
        if words[0].endswith("wallet-ledger")
    ]


@pytest.mark.parametrize("words", shell_commands())
def test_a_command_in_a_document_is_taken_as_written(words: list[str]) -> None:
    command, rest = resolved(words)
    if "--help" not in rest:
        command.make_context(
            "wallet-ledger", rest
        )  # parses all, runs nothing; raises what a person would see


@pytest.mark.parametrize("document", documents(), ids=name_of)
def test_commands_named_in_prose_exist(document: Path) -> None:
    for text in INLINE.findall(prose(document)):
        command, rest = resolved([word for word in text.split() if re.fullmatch(r"[\w-]+", word)])
        known = {name for parameter in command.params for name in parameter.opts} | {"--help"}
        assert {word for word in rest if word.startswith("-")} <= known, text


def test_targets_of_make_exist() -> None:
    targets = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert targets
    named = {name for document in documents() for name in MAKE.findall(prose(document))}
    named |= {words[1] for block in blocks("sh") for words in lines(block) if words[0] == "make"}
    assert named
    assert named <= set(targets[1].split()), named
