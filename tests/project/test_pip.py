"""Plain pip, which knows no date to stop at: do the declared bounds alone give versions that run? Slow."""

from pathlib import Path

import pytest
from running import SHARED, Running
from template import Bake
from tiers import nightly

pytestmark = [pytest.mark.slow, nightly]


def test_plain_pip_installs_versions_that_run_a_flow_and_fire_a_schedule(bake: Bake, tmp_path: Path) -> None:
    pip = Running.copy_of(bake(), tmp_path, "3.11", environment="pip")
    pip.uv("venv", "--seed", "--clear", "--quiet", str(pip.environment))
    # What is imported is compiled then; of the rest nobody asks.
    install = ("install", "--quiet", "--no-compile", "--editable", ".")
    pip.run("env", f"PIP_CACHE_DIR={SHARED / 'wheels'}", str(pip.environment / "bin/pip"), *install)
    pip.run(str(pip.environment / "bin/python"), "-m", pip.package, "train")
    recorded = pip.recorded()
    assert (recorded["flows"], recorded["champion"]) == (["Completed"], 1)
    command = str(pip.environment / "bin/penguin-model")
    with pip.ui(command, "ui") as (_, said):
        assert said[-1].startswith("Ctrl-C")
        pip.run(command, "prefect", "work-pool", "create", "penguin-model", "--type", "process")
        pip.run(command, "prefect", "--no-prompt", "deploy", "--all")
        schedule = ("schedule", "create", "training/penguin-model", "--cron", "* * * * * */15")
        pip.run(command, "prefect", "--no-prompt", "deployment", *schedule)
        worker = pip.start(command, "worker", "--pool", "penguin-model")
        try:
            fired = pip.wait_for_scheduled_run(seconds=150)
        finally:
            worker.terminate()
            worker.communicate(timeout=60)
    assert fired["state_name"] == "Completed", fired
    assert pip.versions() >= 2
