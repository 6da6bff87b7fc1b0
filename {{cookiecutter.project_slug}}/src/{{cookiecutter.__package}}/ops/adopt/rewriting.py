"""Write params.yaml and contract.yaml for a new table; comments, and what does not depend on the table, stay."""

import io
import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.scalarstring import DoubleQuotedScalarString, SingleQuotedScalarString

from ...config import METRICS, Column, Contract, Params, Problem
from ...errors import ProjectError
from ..settings import explain, project_root, read_params
from .infer import Decision

ESTIMATORS: dict[Problem, str] = {
    "classification": "sklearn.ensemble.HistGradientBoostingClassifier",
    "regression": "sklearn.ensemble.HistGradientBoostingRegressor",
}
SPLITS: dict[Problem, str] = {"classification": "stratified", "regression": "random"}
HEADER = """\
# What the raw table must be. A row that breaks a rule stops the run before anything is trained.
# Per column: type (string, integer, float, boolean, date, datetime), nullable, allowed, min, max, unique.
# Of all rows: min, max, and unique if none may stand there twice.
"""


def params(data: Mapping[str, Any], by: tuple[str, str] | None, decision: Decision) -> str:
    """Return params.yaml for the table of `data`; `by` is how and by which column it is split, if not by chance."""
    before, yaml = read_params(), _yaml()
    file: CommentedMap = yaml.load((project_root() / "params.yaml").read_text(encoding="utf-8"))
    chosen = {"problem": decision.problem, "drop": decision.drop} | {name: _quoted(text) for name, text in data.items()}
    lists = {key: _flow(value) for key, value in chosen.items() if isinstance(value, list)}
    _set(file["data"], chosen | lists)
    _empty(file, "features")
    if by:
        _set(file["split"], {"by": by[0], "column": _quoted(by[1])})
    elif before.split.column is not None or decision.problem != before.data.problem:
        _set(file["split"], {"by": SPLITS[decision.problem], "column": None})
    if decision.problem != before.data.problem:
        file["model"]["estimator"] = ESTIMATORS[decision.problem]
        if before.model.estimator not in ESTIMATORS.values():
            _empty(file["model"], "params")
        file["gate"]["metric"] = METRICS[decision.problem][0]
        if "search" in file and before.search.metric:
            file["search"]["metric"] = METRICS[decision.problem][0]
    # What a model of another table reached says nothing of this one.
    _set(file["gate"], {"minimum": None, "slices": None})
    written = io.StringIO()
    yaml.dump(file, written)
    try:
        Params.model_validate(YAML(typ="safe").load(written.getvalue()))
    except ValidationError as error:
        raise ProjectError(explain(error, "params.yaml", Params)) from None
    return written.getvalue()


def _set(section: CommentedMap, values: Mapping[str, Any]) -> None:
    """Set keys in place, so that comments stay; None removes a key, and new ones come second."""
    for key, value in values.items():
        if value is None:
            if key in section:
                _move_comment(section, key)
                del section[key]
        elif key in section:
            section[key] = value
        else:
            section.insert(min(1, len(section)), key, value)


def _move_comment(section: CommentedMap, key: str) -> None:
    """Give what follows the last key of a section (a blank line, the next heading) to the one before."""
    keys = list(section)
    if key == keys[-1] and len(keys) > 1 and key in section.ca.items:
        section.ca.items.setdefault(keys[-2], section.ca.items.pop(key))


def _empty(section: CommentedMap, key: str) -> None:
    """Empty a mapping, and keep what follows it."""
    old = section.get(key)
    section[key] = _flow({})
    if old and (last := old.ca.items.get(list(old)[-1])):
        section.ca.items[key] = last


def _flow(content: Any) -> Any:
    made: CommentedMap | CommentedSeq
    made = CommentedMap(content) if isinstance(content, Mapping) else CommentedSeq(map(_quoted, content))
    made.fa.set_flow_style()
    return made


def contract(found: Contract) -> str:
    """Return contract.yaml: a line a column, and only what is not the default."""
    content = {
        "rows": found.rows.model_dump(exclude_defaults=True),
        "columns": {_quoted(name): _rules(column) for name, column in found.columns.items()},
    }
    written = io.StringIO()
    _yaml().dump(content, written)
    return HEADER + written.getvalue()


def _rules(column: Column) -> CommentedMap:
    rules = column.model_dump(exclude_defaults=True)
    for key, value in rules.items():
        if isinstance(value, list):
            rules[key] = _flow(value)
        elif isinstance(value, float) and value.is_integer():
            rules[key] = int(value)
    made: CommentedMap = _flow(rules)
    return made


def _quoted(text: Any) -> Any:
    """Quote what is more than words: the writer leaves plain what not every reader takes, such as 12:30 in a list."""
    if not isinstance(text, str) or re.fullmatch(r"[\w./-]+( [\w./-]+)*", text):
        return text
    return SingleQuotedScalarString(text) if text.isprintable() else DoubleQuotedScalarString(text)


def _yaml() -> YAML:
    yaml = YAML()
    yaml.width = 1_000_000
    yaml.allow_unicode = True
    return yaml
