"""JSON Schemas as readers outside Python want them."""

import inspect
from typing import Any

Json = dict[str, Any]


def portable(schema: Any) -> Any:
    r"""A schema of msgspec with patterns that ECMA 262 reads as Python does, and docstrings without their indentation.

    Python's end of a text, `\Z`, is a plain Z there. Python strips docstrings itself since 3.13, so documents would
    differ by the Python that makes them.
    """
    if isinstance(schema, list):
        return [portable(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: _told(name, value) if isinstance(value, str) else portable(value)
        for name, value in schema.items()
    }


def _told(name: str, value: str) -> str:
    match name:
        case "pattern":
            return value.replace(r"\Z", "$")
        case "description":
            return inspect.cleandoc(value)
    return value
