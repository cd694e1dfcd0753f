"""Reads JSON into the types of `_types.py`. Fields that a newer service has besides are passed over."""

from __future__ import annotations

from dataclasses import MISSING, fields, is_dataclass
from functools import lru_cache
from typing import Any, Dict, Type, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from ._result import Display
from .errors import FireclayError

T = TypeVar("T")


def decode(kind: Type[T], value: Any) -> T:
    """A value of this dataclass. Raises `FireclayError` when the answer lacks what every version of the service sends."""
    if not isinstance(value, dict):
        raise FireclayError(f"the answer is no {kind.__name__}: {str(value)[:200]}")
    hints = _hints(cast(Any, kind))
    known: Dict[str, Any] = {}
    for field in fields(cast(Any, kind)):
        if field.name in value:
            known[field.name] = _read(hints[field.name], value[field.name])
        elif field.default is MISSING and field.default_factory is MISSING:
            raise FireclayError(f"the answer lacks `{field.name}` of {kind.__name__}")
    return kind(**known)


def _read(kind: Any, value: Any) -> Any:
    origin = get_origin(kind)
    if value is None:
        return None
    if origin is Union:
        return _read(next(choice for choice in get_args(kind) if choice is not type(None)), value)
    if origin is list and isinstance(value, list):
        return [_read(get_args(kind)[0], item) for item in value]
    if origin is dict and isinstance(value, dict):
        return {key: _read(get_args(kind)[1], item) for key, item in value.items()}
    if kind is Display:
        return Display(value)
    if is_dataclass(kind) and isinstance(kind, type):
        return decode(kind, value)
    return value


@lru_cache(maxsize=None)
def _hints(kind: Any) -> Dict[str, Any]:
    return get_type_hints(kind)
