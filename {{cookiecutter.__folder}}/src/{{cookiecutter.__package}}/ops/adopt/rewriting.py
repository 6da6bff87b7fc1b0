"""Write params.yaml and contract.yaml for a new table. Comments, and values that do not depend on the table, stay."""

import io
import re
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from ...config import METRICS, Contract, Problem
from ..settings import project_root, read_params
from .infer import Decision

ESTIMATORS: dict[Problem, str] = {
    "classification": "sklearn.ensemble.HistGradientBoostingClassifier",
    "regression": "sklearn.ensemble.HistGradientBoostingRegressor",
}
SPLITS: dict[Problem, str] = {"classification": "stratified", "regression": "random"}
HEADER = """\
# What the raw table must be. A row that breaks a rule stops the run before anything is trained.
# Per column: type (string, integer, float, boolean, date, datetime), nullable, allowed, min, max, unique.
# How text spells a column: decimal, thousands and unit of numbers, format of dates. Other spellings break the rule.
# For the table: min and max rows, and unique if no row may occur twice.
"""
# Text that needs no quotes in YAML, whoever reads it.
PLAIN = re.compile(r"[\w./-]+( [\w./-]+)*")


def params_yaml(data: Mapping[str, Any], split: Mapping[str, str] | None, decision: Decision) -> str:
    """Return params.yaml with these values for `data` and `split` (None: split by chance)."""
    before = read_params()
    file: CommentedMap = YAML().load((project_root() / "params.yaml").read_text(encoding="utf-8"))
    _set(file["data"], {**data, "problem": decision.problem, "drop": decision.drop})
    _empty(file, "features")
    new_problem = decision.problem != before.data.problem
    if split or new_problem or before.split.column is not None:
        _set(file["split"], split or {"by": SPLITS[decision.problem], "column": None})
    if new_problem:
        metric = METRICS[decision.problem][0]
        file["model"]["estimator"] = ESTIMATORS[decision.problem]
        if before.model.estimator not in ESTIMATORS.values():
            _empty(file["model"], "params")
        file["gate"]["metric"] = metric
        if before.search.metric:
            file["search"]["metric"] = metric
    # These were chosen for another table.
    _set(file["gate"], {"minimum": None, "slices": []})
    return _dumped(file)


def contract_yaml(contract: Contract) -> str:
    """Return contract.yaml, one line per column, without the rules that are the default."""
    rules = contract.model_dump(exclude_defaults=True)
    columns = {_styled(name): _styled(rules["columns"][name]) for name in contract.columns}
    return HEADER + _dumped({"rows": rules["rows"], "columns": columns})


def _set(section: CommentedMap, values: Mapping[str, Any]) -> None:
    """Set keys in place, so that comments stay; a new key comes second, as a comment may follow the last."""
    for key, value in values.items():
        if key in section:
            section[key] = _styled(value)
        elif value:
            section.insert(min(1, len(section)), key, _styled(value))


def _empty(section: CommentedMap, key: str) -> None:
    """Empty a mapping, and keep the comment behind its last key: it is often the heading of what follows."""
    if old := section.get(key):
        section[key] = _styled({})
        if comment := old.ca.items.get(list(old)[-1]):
            section.ca.items[key] = comment


def _styled(value: Any) -> Any:
    """Write lists and mappings in one line, whole floats as integers, and quote text where a reader may need it."""
    styled: CommentedMap | CommentedSeq
    match value:
        case dict():
            styled = CommentedMap((_styled(key), _styled(inner)) for key, inner in value.items())
        case list():
            styled = CommentedSeq(map(_styled, value))
        case str() if not PLAIN.fullmatch(value):
            return DoubleQuotedScalarString(value)
        case float() if value.is_integer():
            return int(value)
        case _:
            return value
    styled.fa.set_flow_style()
    return styled


def _dumped(content: Mapping[str, Any]) -> str:
    yaml, text = YAML(), io.StringIO()
    yaml.width = 1_000_000
    yaml.dump(content, text)
    return text.getvalue()
