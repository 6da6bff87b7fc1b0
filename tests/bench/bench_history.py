"""CPU seconds of verbs after months, with 5,000 runs and 200 versions in MLflow: a part of `make bench`."""

import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

RUNS, VERSIONS, REPEATS = 5000, 200, 3
# Copies of the run, the version and the first entry of the journal, which the project's training has made.
HISTORY = """
    CREATE TEMP TABLE own AS SELECT run_id, version FROM model_versions ORDER BY version LIMIT 1;
    CREATE TEMP TABLE number AS
        WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i <= {runs})
        SELECT i, printf('%032x', i) AS run FROM n;
    CREATE TEMP TABLE copy AS SELECT * FROM runs WHERE run_uuid = (SELECT run_id FROM own);
    INSERT INTO runs SELECT run, name, source_type, source_name, entry_point_name, user_id, status,
        start_time - i * 60000, end_time - i * 60000, source_version, lifecycle_stage, artifact_uri,
        experiment_id, deleted_time FROM copy, number;
    INSERT INTO params (key, value, run_uuid) SELECT key, value, run FROM params, number
        WHERE run_uuid = (SELECT run_id FROM own);
    INSERT INTO tags (key, value, run_uuid) SELECT key, value, run FROM tags, number
        WHERE run_uuid = (SELECT run_id FROM own);
    INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid)
        SELECT key, value, timestamp, step, is_nan, run FROM latest_metrics, number
        WHERE run_uuid = (SELECT run_id FROM own);
    INSERT INTO metrics (key, value, timestamp, step, is_nan, run_uuid)
        SELECT key, value, timestamp, step, is_nan, run FROM metrics, number
        WHERE run_uuid = (SELECT run_id FROM own);
"""
COPY_VERSIONS = """
    DELETE FROM model_version_tags WHERE version > 1;
    DELETE FROM registered_model_aliases WHERE alias != 'champion';
    DELETE FROM registered_model_tags
        WHERE key LIKE 'journal.%' AND key NOT IN ('journal.000001', 'journal.settled');
    DELETE FROM model_versions WHERE version > 1;
    CREATE TEMP TABLE copies AS
        WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < {versions})
        SELECT i, printf('%032x', i) AS run FROM n;
    INSERT INTO model_versions (name, version, creation_time, last_updated_time, current_stage, source,
            run_id, status, storage_location, workspace)
        SELECT name, i, creation_time, last_updated_time, current_stage, source, run, status,
            storage_location, workspace FROM model_versions, copies WHERE version = 1;
    INSERT INTO model_version_tags (name, version, key, value, workspace)
        SELECT name, i, key, value, workspace FROM model_version_tags, copies WHERE version = 1;
    INSERT INTO registered_model_tags (name, key, value, workspace)
        SELECT name, printf('journal.%06d', i), json_set(value, '$.from', i - 1, '$.to', i), workspace
        FROM registered_model_tags, copies WHERE key = 'journal.000001';
    UPDATE registered_model_tags SET value = '{versions}' WHERE key = 'journal.settled';
    UPDATE registered_model_aliases SET version = {versions} WHERE alias = 'champion';
"""
# What the service asks every few seconds.
ASK = """
from penguin_model.ops.tracking import registry
for _ in range(200):
    registry.holder("champion")
"""


def cpu_seconds(project: Path, *command: str) -> float:
    """Return the least CPU seconds of a few runs of a command with all its processes."""
    used = []
    for _ in range(REPEATS):
        before = os.times()
        subprocess.run(command, cwd=project, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        after = os.times()
        used.append(sum(after[2:4]) - sum(before[2:4]))
    return min(used)


def measured(project: Path) -> dict[str, float]:
    """Return the CPU seconds of each command."""
    program, python = str(project / ".venv/bin/penguin-model"), str(project / ".venv/bin/python")
    verbs = {"status": ["status"], "journal": ["journal"], "rollback": ["rollback"]}
    used = {name: cpu_seconds(project, program, *words) for name, words in verbs.items()}
    used["the service asks 200 times"] = cpu_seconds(project, python, "-c", ASK)
    used["train"] = cpu_seconds(project, program, "train")
    return used


def with_history(file: Path, versions: int, *, runs: bool) -> None:
    """Fill MLflow's database with copies."""
    with closing(sqlite3.connect(file)) as database:
        database.executescript(
            (HISTORY.format(runs=RUNS) if runs else "") + COPY_VERSIONS.format(versions=versions)
        )


def main(project: Path) -> None:
    """Measure a trained project, and the same with the history of months."""
    file, first = project / "mlflow.db", project.parent / "first.db"
    shutil.copy(file, first)
    few = REPEATS + 2  # for a rollback each
    used = {}
    for versions in (few, VERSIONS):
        shutil.copy(first, file)
        with_history(file, versions, runs=versions > few)
        used[versions] = measured(project)
    shutil.copy(first, file)
    print(f"\n{'CPU seconds':<30}{f'{few} versions':>18}{f'{VERSIONS} and {RUNS:,} runs':>24}{'ratio':>8}")
    for name, little in used[few].items():
        print(f"{name:<30}{little:>18.2f}{used[VERSIONS][name]:>24.2f}{used[VERSIONS][name] / little:>8.2f}")
