"""What only this user may read, whatever the umask: settings with passwords, databases, artifacts."""

from contextlib import suppress

from .settings import read_settings, state_dir


def protect(*, create: bool = False) -> None:
    """Keep other users out of the settings and state in the project's own folder; `create` what does not exist yet."""
    settings, own = read_settings(), state_dir()
    folders = [
        folder for folder in (settings.prefect_home, settings.artifact_folder, settings.prediction_log) if folder
    ]
    databases = [settings.prefect_home / "prefect.db", *([settings.mlflow_file] if settings.mlflow_file else [])]
    # In a folder that is read-only or belongs to somebody else, this is not for the project to decide.
    with suppress(OSError):
        for folder in folders if create else []:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for file in databases if create else []:
            file.touch(mode=0o600)
    beside = [file for database in databases for file in database.parent.glob(f"{database.name}-*")]
    for path in (own / ".env", own / ".dvc/config.local", *folders, *databases, *beside):
        with suppress(OSError):
            mode = path.stat().st_mode
            if mode & 0o077 and path.resolve().is_relative_to(own):
                path.chmod(mode & 0o700)
