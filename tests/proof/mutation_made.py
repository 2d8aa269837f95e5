"""Run in a copy of the code: makes `mutants`, the same with all changes in it, of which one at a time is switched on."""

import difflib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
from mutmut.__main__ import copy_also_copy_files, copy_src_dir, create_mutants, setup_source_paths
from mutmut.configuration import Config
from mutmut.mutation.data import MutantLineSpans

MARK = "__mutmut_"
OURS = re.compile(rf"{MARK}(orig|\d+)|  # type: ignore # mutmut generated")


def make(modules: list[str]) -> None:
    """What `mutmut run` does before it runs anything."""
    Config.ensure_loaded()
    if not Path("mutants").exists():
        os.mkdir("mutants")
        copy_src_dir()
        copy_also_copy_files()
        setup_source_paths()
        create_mutants(1)
    changes = {mutant: change for module in modules for mutant, change in changes_of(module)}
    Path("mutants.json").write_bytes(msgspec.json.encode(changes))


def changes_of(module: str) -> Iterator[tuple[str, str]]:
    """Each mutant of a module, and how it differs, as lines with - and +."""
    name = module.removesuffix(".py").replace("/", ".")
    spans = MutantLineSpans.load(module)
    assert spans is not None, "it was made just now"
    functions = list(spans.span_by_function_name)
    sources = {
        function: OURS.sub("", source).splitlines()
        for function, source in zip(functions, spans.read_function_sources(functions), strict=True)
    }
    for function in functions:
        original, mark, number = function.rpartition(MARK)
        if mark and number.isdigit():
            lines = difflib.unified_diff(
                sources[f"{original}{MARK}orig"], sources[function], n=0, lineterm=""
            )
            yield (
                f"{name}.{function}",
                "\n".join(line for line in lines if not line.startswith(("---", "+++", "@@"))),
            )


if __name__ == "__main__":
    make(sys.argv[1:])
