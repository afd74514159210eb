"""The JSON Schema of a record, made from its types, for tools that read records without this suite. No torch.

Own code, since pydantic, which would make it, takes no `typing.TypedDict` on Python 3.11.
"""

import dataclasses
import enum
import types
import typing
from typing import Any

from bench.store.record import SCHEMA, Record

DRAFT = "https://json-schema.org/draft/2020-12/schema"
# Strict JSON has no such numbers: `record.encode` writes {"float": "nan"}.
_NOT_FINITE = {
    "description": "A number that is not finite.",
    **{"type": "object", "properties": {"float": {"enum": ["nan", "inf", "-inf"]}}},
    **{"required": ["float"], "additionalProperties": False},
}
_PLAIN: dict[object, dict[str, Any]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"anyOf": [{"type": "number"}, {"$ref": "#/$defs/NotFinite"}]},
    types.NoneType: {"type": "null"},
}


def schema() -> dict[str, Any]:
    """The schema of a whole file: version, SHA-256 and body."""
    forms: dict[str, Any] = {"NotFinite": _NOT_FINITE}
    body = _of(Record, forms)
    return {
        "$schema": DRAFT,
        "title": "Record of one trial of the depth ablation suite",
        "description": "The SHA-256 is that of the body as it is written; other readers may pass over it.",
        "type": "object",
        "properties": {
            "schema": {"const": SCHEMA},
            "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
            "body": body,
        },
        "required": ["schema", "sha256", "body"],
        "additionalProperties": False,
        "$defs": dict(sorted(forms.items())),
    }


def _of(kind: Any, forms: dict[str, Any]) -> dict[str, Any]:
    """The schema of a type; those with a name of their own go into `forms`.

    Raises:
        TypeError: A type that no record has had so far.
    """
    inner, origin = typing.get_args(kind), typing.get_origin(kind)
    if kind in _PLAIN:
        return _PLAIN[kind]
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [_of(each, forms) for each in inner]}
    if origin in (list, tuple) and (origin is list or inner[1:] == (...,)):
        return {"type": "array", "items": _of(inner[0], forms)}
    if origin is dict and inner[0] is str:
        return {"type": "object", "additionalProperties": _of(inner[1], forms)}
    if isinstance(kind, type) and issubclass(kind, enum.StrEnum):
        return {"enum": [str(each) for each in kind]}
    if not (typing.is_typeddict(kind) or dataclasses.is_dataclass(kind)):
        raise TypeError(f"no JSON Schema is known for {kind}")
    if kind.__name__ not in forms:
        forms[kind.__name__] = {}  # a form that holds itself ends here
        forms[kind.__name__] = _object(kind, forms)
    return {"$ref": f"#/$defs/{kind.__name__}"}


def _object(kind: Any, forms: dict[str, Any]) -> dict[str, Any]:
    """Of a dataclass, fields without a default are required; of a `TypedDict`, what it says."""
    made = {name: _of(each, forms) for name, each in typing.get_type_hints(kind).items()}
    if typing.is_typeddict(kind):
        required = sorted(kind.__required_keys__)
    else:
        blank = dataclasses.MISSING
        required = [f.name for f in dataclasses.fields(kind) if f.default is blank and f.default_factory is blank]
    return {
        "description": (kind.__doc__ or kind.__name__).partition("\n")[0],
        **{"type": "object", "properties": made, "required": required, "additionalProperties": False},
    }
