"""What only this user may read, whatever the umask: settings with passwords, databases, artifacts."""

from collections.abc import Collection
from contextlib import suppress

from .settings import read_settings, state_dir


def protect(create: Collection[str] = ()) -> None:
    """Keep other users out of the settings and state in the project's own folder.

    `create` names whose database and folder are made if they do not exist yet: "prefect", "mlflow".
    """
    settings, own = read_settings(), state_dir()
    used = {"prefect": settings.prefect_home, "mlflow": settings.artifact_folder, "log": settings.prediction_log}
    files = {"prefect": settings.prefect_home / "prefect.db", "mlflow": settings.mlflow_file}
    # In a folder that is read-only or belongs to somebody else, this is not for the project to decide.
    with suppress(OSError):
        for folder in [folder for name, folder in used.items() if folder and name in create]:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for file in [file for name, file in files.items() if file and name in create]:
            file.touch(mode=0o600)
    folders, databases = filter(None, used.values()), list(filter(None, files.values()))
    beside = [file for database in databases for file in database.parent.glob(f"{database.name}-*")]
    for path in (own / ".env", own / ".dvc/config.local", *folders, *databases, *beside):
        with suppress(OSError):
            mode = path.stat().st_mode
            if mode & 0o077 and path.resolve().is_relative_to(own):
                path.chmod(mode & 0o700)
