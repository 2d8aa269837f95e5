"""A contract for import-linter that lists what may be imported: a new dependency must be asked for."""

import sys
from typing import Any

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output

# Parts of the standard library that reach outside of the process, or run things beside it.
OUTSIDE = {"asyncio", "http", "multiprocessing", "select", "selectors", "socket", "sqlite3", "subprocess"} | {
    "concurrent", "threading", "urllib", "random", "secrets", "time",
}  # fmt: skip


class OnlyContract(Contract):
    """All below `source_modules` import `allowed_modules` and what of the standard library does no I/O."""

    type_name = "only"
    source_modules: Any = fields.SetField(subfield=fields.StringField())
    allowed_modules: Any = fields.SetField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Every direct import of every module below the sources."""
        found = []
        for source in sorted(self.source_modules):
            for module in sorted({source, *graph.find_descendants(source)}):
                imported = graph.find_modules_directly_imported_by(module)
                found += [f"{module} -> {name}" for name in sorted(imported) if not self._may_import(name)]
        return ContractCheck(kept=not found, metadata={"found": found})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """One line per import that is not allowed."""
        for line in check.metadata["found"]:
            output.print_error(line)

    def _may_import(self, name: str) -> bool:
        top = name.split(".")[0]
        if top in sys.stdlib_module_names:
            return top not in OUTSIDE
        return any(name == allowed or name.startswith(f"{allowed}.") for allowed in self.allowed_modules)
