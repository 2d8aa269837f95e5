"""Every metric is described, and every description has its metric."""

import re
from importlib import import_module

from prometheus_client.metrics import MetricWrapperBase

from tests.docs.documents import ROOT, documents, rows

OPERATIONS = ROOT / "docs" / "operations.md"
NAME = re.compile(r"wallet_ledger_[a-z0-9_]+")
SUFFIXES = ("_bucket", "_sum", "_count")


def exposed() -> dict[str, tuple[str, frozenset[str]]]:
    """Name at `/metrics`, type and labels of every metric that the processes register."""
    found = {}
    for file in sorted((ROOT / "services").rglob("metrics.py")):
        module = import_module(".".join(file.relative_to(ROOT).with_suffix("").parts))
        for metric in vars(module).values():
            if isinstance(metric, MetricWrapperBase):
                (family,) = metric.describe()
                name = f"{family.name}_total" if family.type == "counter" else family.name
                found[name] = (family.type, frozenset(metric._labelnames))
    return found


def test_metrics_are_made_in_the_modules_of_that_name_only() -> None:
    making = re.compile(r"\b(Counter|Gauge|Histogram|Summary)\(\s*\"wallet_ledger_")
    elsewhere = [
        str(file)
        for file in (ROOT / "services").rglob("*.py")
        if file.name != "metrics.py" and making.search(file.read_text())
    ]
    assert not elsewhere


def test_the_tables_describe_exactly_the_metrics_that_exist() -> None:
    described = {}
    for row in rows(OPERATIONS):
        if row[0].startswith("`wallet_ledger_"):
            assert len(row) == 4, row
            assert row[2], f"{row[0]} has no meaning"
            assert row[3], f"{row[0]} does not say what to do"
            kind, *labels = re.findall(r"[a-z_]+", row[1].replace(" by ", " "))
            described[row[0].strip("`")] = (kind, frozenset(labels))
    assert described == exposed()


def test_no_document_names_a_metric_that_does_not_exist() -> None:
    known = exposed().keys()
    for document in documents():
        for name in set(NAME.findall(document.read_text())):
            bare = next((name.removesuffix(s) for s in SUFFIXES if name.endswith(s)), name)
            assert name in known or bare in known, f"{document.name}: {name}"
