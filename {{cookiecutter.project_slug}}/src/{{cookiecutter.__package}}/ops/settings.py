"""Where the project lies and where it runs (.env): typed, read on demand; and how its other files are read."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

from dotenv import dotenv_values
from pydantic import AnyHttpUrl, BaseModel, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from ..config import Contract, Params
from ..errors import ProjectError

# The package's name is that of the experiment, of the registered model, and of what is deployed.
PACKAGE = __name__.partition(".")[0]

# Where the code lies, whatever folder it works on: below the project, or in an image among other packages.
PACKAGE_DIR = Path(__file__).parents[1]

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


def project_root() -> Path:
    """Return the folder that data, models and reports lie in: the one that this code lies in, unless told otherwise."""
    return Path(os.environ.get("PROJECT_ROOT", PACKAGE_DIR.parents[1])).resolve()


def state_dir() -> Path:
    """Return the folder that keeps the memory (.env, MLflow, Prefect).

    It is the root, except in the copies below `.dvc/tmp/exps` in which DVC runs experiments: these share their owner's.
    """
    here = project_root()
    owners = [folder.parents[2] for folder in here.parents if folder.parts[-3:] == (".dvc", "tmp", "exps")]
    return owners[0] if owners else here


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
        object.__setattr__(self, "prefect_home", state_dir() / self.prefect_home)
        if "://" not in self.mlflow_artifact_root:
            object.__setattr__(self, "mlflow_artifact_root", (state_dir() / self.mlflow_artifact_root).as_uri())
        scheme, _, path = self.mlflow_tracking_uri.partition(":///")
        if scheme == "sqlite":
            # Another process may be writing: wait for it, instead of 5 seconds a minute.
            wait = "" if "?" in path else "?timeout=60"
            object.__setattr__(self, "mlflow_tracking_uri", f"sqlite:///{state_dir() / path}{wait}")
        return self


def read_settings() -> Settings:
    """Read where the project runs; raise ProjectError naming file, key and what is allowed."""
    file = state_dir() / ".env"
    try:
        return Settings(_env_file=file)
    except ValidationError as error:
        raise ProjectError(explain(error, f"{file.name} (or the environment)", Settings)) from None


def cloud_options() -> dict[str, str]:
    """Return what .env and the environment, which wins, say of the storage of a cloud, such as AWS_ENDPOINT_URL."""
    said = dotenv_values(state_dir() / ".env") | os.environ
    return {name: value for name, value in said.items() if name.startswith(CLOUD) and value}


def read_yaml(name: str, section: type[Section]) -> Section:
    """Read a file of the root as a section; raise ProjectError naming file, key and what is allowed."""
    try:
        # YAML 1.2, as DVC reads it: `1e-3` is a number and `no` is a word.
        content = YAML(typ="safe").load(project_root() / name)
        return section.model_validate(content)
    except FileNotFoundError:
        raise ProjectError(f"{name} is missing in {project_root()}.") from None
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise ProjectError(f"{name}, line {line}: not valid YAML ({error.problem}).") from None
    except ValidationError as error:
        raise ProjectError(explain(error, name, section)) from None


def read_params() -> Params:
    """Read what the experiment is; raise ProjectError naming file, key and what is allowed."""
    return read_yaml("params.yaml", Params)


def read_contract() -> Contract:
    """Read what the raw table must be; raise ProjectError naming file, key and what is allowed."""
    return read_yaml("contract.yaml", Contract)


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
