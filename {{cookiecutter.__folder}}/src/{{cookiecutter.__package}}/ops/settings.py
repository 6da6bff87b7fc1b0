"""Where the project is and where it runs: the one reader of .env, of params.yaml and of contract.yaml."""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from importlib.metadata import metadata
from io import StringIO
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args
from urllib.parse import urlsplit
from urllib.request import url2pathname

from dotenv import dotenv_values
from dotenv.parser import parse_stream
from pydantic import (
    AnyHttpUrl,
    BaseModel,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from ..config import Contract, Params
from ..errors import ProjectError
from .addresses import check_stored, is_secret, redacted, scheme_of

# The package's name is also the name of the experiment, of the registered model and of the tag of deployments.
PACKAGE = __name__.partition(".")[0]
# Where the code is: below the project's root, or in an image among other packages.
PACKAGE_DIR = Path(__file__).parents[1]

# How the names of a cloud storage's variables begin.
CLOUD = ("AWS_", "GOOGLE_", "AZURE_")
# How those of its secrets end.
CLOUD_SECRETS = ("KEY", "PASSWORD", "SECRET", "STRING", "TOKEN")
# A secret, or an address that may hold one: Settings do not show it, and `doctor` looks for it in git.
Secret = Annotated[str | None, Field(repr=False)]
# A key that prefect.yaml or compose.yaml uses; it is not passed on with the other settings.
ForDeployment = Annotated[str | None, Field(exclude=True)]
SecretForDeployment = Annotated[str | None, Field(exclude=True, repr=False)]

# What pydantic adds to the keys of a fault: the kinds of a union, and that the key itself is wrong.
TAG = re.compile(r"\((list|distribution)\)|list\[(str|int)\]|\[key\]")

Section = TypeVar("Section", bound=BaseModel)


def project_root() -> Path:
    """Return the folder of data, models and reports: PROJECT_ROOT, by default the folder that this code is in."""
    return Path(os.environ.get("PROJECT_ROOT", PACKAGE_DIR.parents[1])).resolve()


def state_dir() -> Path:
    """Return the folder of .env and of the state of MLflow and Prefect.

    It is the root, except in the copies below `.dvc/tmp/exps` in which DVC runs experiments: these use the original's.
    """
    here = project_root()
    originals = [folder.parents[2] for folder in here.parents if folder.parts[-3:] == (".dvc", "tmp", "exps")]
    return originals[0] if originals else here


class Settings(BaseModel, extra="forbid", frozen=True, validate_default=True, alias_generator=str.upper):
    """Where the project runs; the defaults need no server."""

    prefect_api_url: AnyHttpUrl | None = None
    prefect_api_key: Secret = None
    prefect_api_auth_string: Secret = None
    prefect_home: Path = Path(".prefect")
    prefect_logging_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    mlflow_tracking_uri: str = "sqlite:///mlflow.db"
    mlflow_tracking_username: str | None = None
    mlflow_tracking_password: Secret = None
    mlflow_artifact_root: str = "mlartifacts"
    source_url: Secret = None
    predictions_url: Secret = None
    notify_webhook_url: Secret = None
    serve_host: str = "127.0.0.1"
    serve_port: Annotated[int, Field(ge=1, le=65535)] = 8000
    serve_api_key: Secret = None
    serve_workers: PositiveInt = 1
    serve_model: Path | None = None
    serve_poll_seconds: PositiveFloat = 5
    serve_max_rows: PositiveInt = 1000
    serve_max_bytes: PositiveInt = 1_000_000
    serve_timeout: PositiveFloat = 10
    service_url: AnyHttpUrl | None = None
    service_timeout: PositiveFloat = 60
    notify_on: frozenset[Literal["failure", "success", "promotion", "rollback", "drift"]] = frozenset(
        {"failure", "promotion", "rollback", "drift"}
    )
    retention_days: PositiveInt = 90
    prediction_log: Path | None = None
    shadow: Literal["challenger"] | None = None
    dask_scheduler_address: str | None = None
    ray_address: str | None = None
    image: ForDeployment = None
    repository: ForDeployment = None
    docker_gid: ForDeployment = None
    postgres_password: SecretForDeployment = None
    mlflow_flask_server_secret_key: SecretForDeployment = None
    prefect_port: ForDeployment = None
    mlflow_port: ForDeployment = None

    @field_validator("notify_on", mode="before")
    @classmethod
    def split_words(cls, value: object) -> object:
        """Accept words separated by commas."""
        return {word.strip() for word in value.split(",") if word.strip()} if isinstance(value, str) else value

    @field_validator("prefect_api_url", "mlflow_tracking_uri", "mlflow_artifact_root", "repository", "service_url")
    @classmethod
    def has_no_secret(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse a password or key in an address that Prefect and MLflow print and store."""
        address, web = str(value), scheme_of(str(value)) in {"http", "https"}
        if (info.field_name == "mlflow_tracking_uri" and not web) or scheme_of(address) == "file":
            return value  # a database, or a folder, whose path may have an @
        # Elsewhere a name before the @ is a container of Azure, or a user of SSH.
        if is_secret(address if web else re.sub(r"(?<=://)[\w.-]+@", "", address)):
            raise ValueError(
                "Prefect and MLflow would print and store the password or key in it; use PREFECT_API_AUTH_STRING, "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, SERVE_API_KEY, or the keys of the storage"
            )
        return value

    @field_validator("prediction_log", "prefect_home", "serve_model")
    @classmethod
    def is_folder(cls, value: Path | None) -> Path | None:
        """Make a folder absolute, so that it means the same in every working folder; refuse an address."""
        if value and ":/" in str(value):
            raise ValueError("it must be a folder of this machine")
        return value and state_dir() / value

    @field_validator("mlflow_artifact_root")
    @classmethod
    def is_uri(cls, value: str) -> str:
        """Make a folder the URI that MLflow keeps."""
        return value if "://" in value else (state_dir() / value).as_uri()

    @field_validator("mlflow_tracking_uri")
    @classmethod
    def is_patient(cls, value: str) -> str:
        """Make the path of SQLite absolute, and wait for a minute instead of 5 seconds while another process writes."""
        scheme, _, path = value.partition(":///")
        wait = "" if "?" in path else "?timeout=60"
        return f"sqlite:///{state_dir() / path}{wait}" if scheme == "sqlite" else value

    @property
    def mlflow_file(self) -> Path | None:
        """The file of MLflow's database, None if a server has it."""
        scheme, _, path = self.mlflow_tracking_uri.partition(":///")
        return Path(path.partition("?")[0]) if scheme == "sqlite" else None

    @property
    def artifact_folder(self) -> Path | None:
        """The folder of MLflow's artifacts, None if they are elsewhere."""
        root = urlsplit(self.mlflow_artifact_root)
        return Path(url2pathname(root.path)) if root.scheme == "file" else None


def read_settings() -> Settings:
    """Read .env and the environment; raise ProjectError naming file, key and what is allowed."""
    # The environment has variables for other programs; a key of .env that is not a setting is misspelt.
    keys = {field.upper() for field in Settings.model_fields} | _env_file().keys()
    values = {key: value for key, value in variables().items() if key in keys and not key.startswith(CLOUD)}
    return parse(values, ".env (or the environment)", Settings)


def cloud_options() -> dict[str, str]:
    """Return the variables of a cloud's storage, such as AWS_ENDPOINT_URL."""
    return {name: value for name, value in variables().items() if name.startswith(CLOUD)}


def secret_values() -> list[str]:
    """Return the values of .env and of the environment that are secret."""
    keys = {name.upper() for name, field in Settings.model_fields.items() if not field.repr}
    keys |= {name for name in cloud_options() if name.endswith(CLOUD_SECRETS)}
    return [value for name, value in variables().items() if name in keys]


def artifact_key(name: str) -> str:
    """Return the key of an artifact in Prefect, which shows the artifacts with one key as versions of each other."""
    return f"{PACKAGE.replace('_', '-')}-{name}"


def image() -> str:
    """Return the name of the image that flows run in: IMAGE, by default the project's name."""
    return variables().get("IMAGE") or f"{metadata(PACKAGE)['Name']}:latest"


def variables() -> dict[str, str]:
    """Return the variables of .env and of the environment, which wins; an empty one counts as not set."""
    environment = {name: value for name, value in os.environ.items() if value}
    return _env_file() | environment


def _env_file() -> dict[str, str]:
    file = state_dir() / ".env"
    if not os.path.lexists(file):
        return {}
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ProjectError(f"{file} cannot be read as UTF-8 text: {error}.") from None
    # python-dotenv ignores lines that it cannot read and, given a path, what is not a file.
    for key, value, (statement, first), wrong in parse_stream(StringIO(text)):
        if wrong or (key and value is None):
            line = first + statement.rstrip().count("\n")
            raise ProjectError(f"{file}, line {line}: write a setting as NAME=value, and a comment after #.")
    values = dotenv_values(stream=StringIO(text))
    return {name.upper(): value for name, value in values.items() if value}


def read_params() -> Params:
    """Read params.yaml; raise ProjectError naming file, key and what is allowed."""
    params = read_yaml("params.yaml", Params)
    check_stored(params.data.origin or "", "params.yaml: data.origin")
    return params


def read_contract() -> Contract:
    """Read contract.yaml; raise ProjectError naming file, key and what is allowed."""
    return read_yaml("contract.yaml", Contract)


def read_yaml(name: str, section: type[Section]) -> Section:
    """Read a file of the root as a section; raise ProjectError naming file, key and what is allowed."""
    return parse(load_yaml(name), name, section)


def load_yaml(name: str | Path) -> Any:
    """Read a YAML file of the root; raise ProjectError if it is missing or not valid YAML."""
    try:
        text = (project_root() / name).read_text(encoding="utf-8-sig")
        # YAML 1.2, as DVC reads it: `1e-3` is a number and `no` is a word.
        content = YAML(typ="safe").load(text)
    except FileNotFoundError:
        raise ProjectError(f"{name} is missing in {project_root()}; `git checkout {name}` restores it.") from None
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        conflict = re.search("^<<<<<<< ", text, re.MULTILINE)
        reason = "a conflict of git's merge is not resolved" if conflict else f"not valid YAML ({error.problem})"
        raise ProjectError(f"{name}, line {line}: {reason}.") from None
    except (OSError, YAMLError, UnicodeDecodeError) as error:
        reason = str(error).partition("\n")[0]
        raise ProjectError(f"{name} cannot be read ({reason}); `git checkout {name}` restores it.") from None
    if content is None:
        raise ProjectError(f"{name} is empty; `git checkout {name}` restores it.")
    return content


def parse(content: Any, file: str, section: type[Section]) -> Section:
    """Return the content of a file as a section; raise ProjectError naming file, key and what is allowed."""
    try:
        return section.model_validate(content)
    except ValidationError as error:
        raise ProjectError(*dict.fromkeys(explain(error, file, section))) from None


def explain(error: ValidationError, file: str, section: type[BaseModel]) -> Iterator[str]:
    """Yield a sentence for each fault that pydantic found in a file."""
    for fault in error.errors():
        location = [str(part) for part in fault["loc"] if not TAG.fullmatch(str(part))]
        key = ".".join(location)
        match fault["type"]:
            case "extra_forbidden":
                yield unknown_key(file, key, _fields(section, location[:-1]))
            case "missing":
                yield f"{file}: `{key}` is missing."
            case "model_type" | "dict_type":
                where = f"`{key}`" if key else "the file"
                yield f"{file}: {where} must hold keys with values, as in `key: value`, not {fault['input']!r}."
            case "url_parsing" | "url_scheme":
                yield f"{file}: `{key}` is not a URL; write it as https://host/path."
            case "value_error" if isinstance(fault["input"], dict):
                yield f"{file}: {fault['ctx']['error']}."
            case _:
                value, reason = fault["input"], fault["msg"].removeprefix("Value error, ")
                value = redacted(value) if isinstance(value, str) else value
                yield f"{file}: `{key}` is {value!r}; {reason[0].lower()}{reason[1:]}."


def unknown_key(file: str, key: str, allowed: Iterable[str]) -> str:
    """Return the sentence for a key that a file must not have."""
    allowed = list(allowed)
    similar = get_close_matches(key.rpartition(".")[2], allowed, n=1)
    hint = f"did you mean `{similar[0]}`?" if similar else f"allowed are {', '.join(allowed) or 'none'}."
    return f"{file}: `{key}` is not a key here; {hint}"


def _fields(section: type[BaseModel], location: Sequence[str]) -> list[str]:
    """Return the keys that a section, found by its location, allows."""
    for part in location:
        field = section.model_fields.get(part)
        # A key of a mapping (such as a column's name) is not a field: the next part belongs to the mapping's values.
        section = next(_sections(field.annotation), section) if field else section
    return [field.alias or name for name, field in section.model_fields.items()]


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _sections(part)
