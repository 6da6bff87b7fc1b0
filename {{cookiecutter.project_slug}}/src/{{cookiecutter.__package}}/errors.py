"""The one error whose message is meant for people, and pydantic's findings in its words."""

from collections.abc import Iterator, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_settings import BaseSettings


class ProjectError(Exception):
    """A fault that its reader can mend: one sentence that names what is wrong, where, and what would be right."""


def explain(error: ValidationError, file: str, section: type[BaseModel]) -> str:
    """Say in a sentence a line what pydantic found wrong in a file."""
    sentences = []
    for fault in error.errors():
        # A part in parentheses is the tag of a union, not a key.
        location = [str(part) for part in fault["loc"] if not str(part).startswith("(")]
        key = ".".join(location)
        allowed = ", ".join(_fields(section, location[:-1]))
        if issubclass(section, BaseSettings):
            key, allowed = key.upper(), allowed.upper()
        match fault["type"]:
            case "extra_forbidden":
                sentences.append(f"{file}: `{key}` is not a key here; allowed are {allowed}.")
            case "missing":
                sentences.append(f"{file}: `{key}` is missing.")
            case "value_error":
                sentences.append(f"{file}: {fault['ctx']['error']}.")
            case _:
                sentences.append(f"{file}: `{key}` is {fault['input']!r}; {fault['msg'][0].lower()}{fault['msg'][1:]}.")
    return "\n".join(sentences)


def _fields(section: type[BaseModel], location: Sequence[str]) -> list[str]:
    """Return the keys that a section, found by its location, allows."""
    for part in location:
        field = section.model_fields.get(part)
        # A key of a mapping (a column's name) has no field of its own: what follows belongs to the mapping's values.
        section = next(_sections(field.annotation), section) if field else section
    return list(section.model_fields)


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the sections that a type is made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _sections(part)
