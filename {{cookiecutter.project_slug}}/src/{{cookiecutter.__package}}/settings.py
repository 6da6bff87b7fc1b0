"""Where the project lies and where it runs (.env): typed, read on demand; and how its other files are read."""

import os
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from dotenv import dotenv_values
from pydantic import AnyHttpUrl, BaseModel, ConfigDict, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from .errors import ProjectError, explain

Section = TypeVar("Section", bound=BaseModel)


# How the settings begin that .env may have for the storage of a cloud.
CLOUD = ("AWS_", "GOOGLE_", "AZURE_")
# What .env may say to make, prefect.yaml and compose.yaml alone.
DEPLOYED = {
    "IMAGE",
    "REPOSITORY",
    "DOCKER_GID",
    "POSTGRES_PASSWORD",
    "MLFLOW_FLASK_SERVER_SECRET_KEY",
    "PREFECT_PORT",
    "MLFLOW_PORT",
}


def root() -> Path:
    """Return the folder that data, models and reports lie in: the one that this code lies in, unless told otherwise."""
    return Path(os.environ.get("PROJECT_ROOT", Path(__file__).parents[2])).resolve()


def home() -> Path:
    """Return the folder that keeps the memory (.env, MLflow, Prefect).

    It is the root, except in the copies below `.dvc/tmp/exps` in which DVC runs experiments: these share their owner's.
    """
    here = root()
    owners = [folder.parents[2] for folder in here.parents if folder.parts[-3:] == (".dvc", "tmp", "exps")]
    return owners[0] if owners else here


class Strict(BaseModel):
    """A section of a file: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Settings(BaseSettings):
    """Where the project runs: the environment first, then .env, then defaults that need no server."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, env_file_encoding="utf-8", env_ignore_empty=True)

    prefect_api_url: AnyHttpUrl | None = None
    prefect_api_key: str | None = None
    prefect_api_auth_string: str | None = None
    prefect_home: Path = Path(".prefect")
    prefect_logging_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    mlflow_tracking_uri: str = "sqlite:///mlflow.db"
    mlflow_tracking_username: str | None = None
    mlflow_tracking_password: str | None = None
    mlflow_artifact_root: str = "mlartifacts"
    source_url: str | None = None
    notify_webhook_url: SecretStr | None = None
    notify_on: Annotated[frozenset[Literal["success", "promotion", "drift"]], NoDecode] = frozenset()
    dask_scheduler_address: str | None = None
    ray_address: str | None = None

    @model_validator(mode="before")
    @classmethod
    def for_others(cls, found: dict[str, str]) -> dict[str, str]:
        """Leave out what is for the cloud's storage or for deployments, and not for this project to know."""
        return {
            name: value
            for name, value in found.items()
            if name.upper() not in DEPLOYED and not name.upper().startswith(CLOUD)
        }

    @field_validator("notify_on", mode="before")
    @classmethod
    def listed(cls, said: object) -> object:
        """Take words with commas between them."""
        return {word.strip() for word in said.split(",") if word.strip()} if isinstance(said, str) else said

    @model_validator(mode="after")
    def anchored(self) -> Self:
        """Make paths absolute, so that they mean the same from every working folder."""
        object.__setattr__(self, "prefect_home", home() / self.prefect_home)
        if "://" not in self.mlflow_artifact_root:
            object.__setattr__(self, "mlflow_artifact_root", (home() / self.mlflow_artifact_root).as_uri())
        scheme, _, path = self.mlflow_tracking_uri.partition(":///")
        if scheme == "sqlite":
            # Another process may be writing: wait for it, instead of 5 seconds a minute.
            wait = "" if "?" in path else "?timeout=60"
            object.__setattr__(self, "mlflow_tracking_uri", f"sqlite:///{home() / path}{wait}")
        return self


def read_settings() -> Settings:
    """Read where the project runs; raise ProjectError naming file, key and what is allowed."""
    file = home() / ".env"
    try:
        return Settings(_env_file=file)
    except ValidationError as error:
        raise ProjectError(explain(error, f"{file.name} (or the environment)", Settings)) from None


def cloud_options() -> dict[str, str]:
    """Return what .env and the environment, which wins, say of the storage of a cloud, such as AWS_ENDPOINT_URL."""
    said = dotenv_values(home() / ".env") | os.environ
    return {name: value for name, value in said.items() if name.startswith(CLOUD) and value}


def read_yaml(name: str, section: type[Section]) -> Section:
    """Read a file of the root as a section; raise ProjectError naming file, key and what is allowed."""
    try:
        # YAML 1.2, as DVC reads it: `1e-3` is a number and `no` is a word.
        content = YAML(typ="safe").load(root() / name)
        return section.model_validate(content)
    except FileNotFoundError:
        raise ProjectError(f"{name} is missing in {root()}.") from None
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise ProjectError(f"{name}, line {line}: not valid YAML ({error.problem}).") from None
    except ValidationError as error:
        raise ProjectError(explain(error, name, section)) from None
