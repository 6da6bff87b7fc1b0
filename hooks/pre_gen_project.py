"""Refuse answers that cannot give a working project, with a sentence that says what would work."""

import json
import keyword
import os
import re
import sys
import unicodedata
from collections.abc import Iterator
from typing import Any

# Raw strings, so that this file is valid Python before and after Cookiecutter renders it.
ANSWERS = r"""{{ cookiecutter | tojson }}"""
# The answers as typed on a command line, before Cookiecutter rendered them; cruft does not pass them on.
TYPED = r"""{{ _cookiecutter | default({}) | tojson }}"""

SLUG = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
# Buckets, DNS labels and Kubernetes namespaces have at most 63 characters; the bucket ends with "-data".
MAX_SLUG_LENGTH = 58

# Every distribution in the project's constraints.txt; a test compares the two.
DEPENDENCIES = """
    adlfs aiobotocore aiohappyeyeballs aiohttp aiohttp-cors aiohttp-retry aioitertools aiosignal
    aiosqlite alembic amplitude-analytics amqp annotated-doc annotated-types antlr4-python3-runtime
    anyio appdirs apprise argcomplete asgi-lifespan ast-serialize async-timeout asyncpg asyncssh
    atpublic attrs azure-core azure-identity azure-storage-blob bcrypt beartype billiard blinker boto3
    botocore burner-redis cachetools celery certifi cffi charset-normalizer click click-didyoumean
    click-plugins click-repl cloudpickle colorama colorful configobj contourpy coolname coverage cronsim
    cryptography cycler cyclopts dask databricks-sdk dateparser decorator dictdiffer diskcache distlib
    distributed distro docker docstring-parser dpath dulwich dvc dvc-azure dvc-data dvc-gs dvc-http
    dvc-objects dvc-render dvc-s3 dvc-ssh dvc-studio-client dvc-task entrypoints exceptiongroup fastapi
    fastapi-offline filelock flask flask-cors flask-wtf flatten-dict flufl-lock fonttools frozenlist
    fsspec funcy gcsfs gitdb gitpython google-api-core google-auth google-auth-oauthlib
    google-cloud-core google-cloud-storage google-cloud-storage-control google-crc32c
    google-resumable-media googleapis-common-protos grandalf graphene graphql-core graphql-relay
    graphviz greenlet griffe griffecli griffelib grimp grpc-google-iam-v1 grpcio grpcio-status gto
    gunicorn h11 h2 hpack httpcore httptools httpx huey humanize hydra-core hyperframe idna
    import-linter importlib-metadata iniconfig iso8601 isodate iterative-telemetry itsdangerous jinja2
    jinja2-humanize-extension jmespath joblib jsonpatch jsonpointer jsonschema jsonschema-specifications
    kiwisolver knack kombu kopf kubernetes-asyncio librt locket mako markdown markdown-it-py markupsafe
    matplotlib mdurl mlflow mlflow-skinny mlflow-tracing msal msal-extensions msgpack multidict mypy
    mypy-extensions narwhals networkx numpy oauthlib omegaconf opencensus opencensus-context
    opentelemetry-api opentelemetry-exporter-prometheus opentelemetry-proto opentelemetry-sdk
    opentelemetry-semantic-conventions orjson packaging pandas partd pathspec pendulum pillow
    platformdirs pluggy polars polars-runtime-32 prefect prefect-dask prefect-docker prefect-kubernetes
    prefect-ray prettytable prometheus-client prompt-toolkit propcache proto-plus protobuf psutil
    psycopg psycopg-binary py-key-value-aio py-spy pyarrow pyasn1 pyasn1-modules pycparser pydantic
    pydantic-core pydantic-extra-types pydantic-settings pydocket pydot pygit2 pygments pygtrie pyjwt
    pyopenssl pyparsing pytest pytest-cov python-dateutil python-discovery python-dotenv
    python-json-logger python-on-whales python-slugify pytz pywin32 pyyaml ray readchar redis
    referencing regex requests requests-oauthlib rfc3339-validator rich rich-rst rpds-py ruamel-yaml
    ruamel-yaml-clib ruff s3fs s3transfer scikit-learn scipy scmrepo semver setuptools shellingham
    shortuuid shtab six skops skrub smart-open smmap sniffio sortedcontainers sqlalchemy sqlparse
    sqltrie sshfs starlette tabulate tblib tenacity text-unidecode threadpoolctl toml tomlkit toolz
    tornado tqdm typer typing-extensions typing-inspection tzdata tzlocal uncalled-for urllib3 uvicorn
    uvloop vine virtualenv voluptuous waitress wcwidth websockets werkzeug whenever wrapt wtforms yarl
    zc-lockfile zict zipp
"""
# Names of their modules, where these differ from the distribution's.
IMPORTS = """
    amplitude antlr4 attr azure databricks dateparser-cli dateparser-data dateparser-scripts dateutil
    docket dotenv flufl git google graphql grpc grpc-status hydra importlinter jsonpatch-cli jwt
    key-value markdown-it mpl-toolkits mypyc openssl opentelemetry pil pip pkg-resources proto public py
    pydevd-plugins pylab pythonjsonlogger rpds ruamel sklearn slugify tlz uv validate wheel yaml zc
"""
FOLDERS = """
    build conftest data dist docs kubernetes mlruns models notebooks reports scripts site src stack test tests
"""
TAKEN = {*DEPENDENCIES.split(), *IMPORTS.split(), *FOLDERS.split()}
# The project's command would hide a program: those of POSIX, those that projects call, those of dependencies.
PROGRAMS = """
    alias ar at awk basename batch bc bg bind cal cat cd chgrp chmod chown cksum cmp comm command
    compress cp crontab csplit ctags cut cxref date dd df diff dirname du echo ed env eval ex exec exit
    expand export expr fc fg file find fold fuser gencat getconf getopts gettext grep hash head iconv id
    ipcrm ipcs jobs join kill lex link ln locale localedef logger logname lp ls m4 mailx make man mesg
    mkdir mkfifo more msgfmt mv newgrp nice nl nm nohup od paste patch pathchk pax pr printf ps pwd read
    readlink realpath renice rm rmdir sed set sh shift sleep sort source split strings strip stty tabs
    tail talk tee time timeout times touch tput tr trap tsort tty type ulimit umask unalias uname
    uncompress unexpand uniq unlink unset vi wait wc who write xargs xgettext yacc zcat
    activate bash brew bunzip2 bzip2 cmake cmd conda cruft curl dash deactivate fish gcc gh gpg gunzip
    helm hostname java jupyter kubectl less mamba nano node npm npx openssl pip3 pipx poetry powershell
    pyenv python python3 rsync scp sftp ssh su sudo tar terraform unzip uvx vim wget which zip zsh
    cffi-gen-src coverage3 dask-scheduler dask-worker dateparser-download dmypy dul-receive-pack
    dul-upload-pack f2py gunicornc huey-consumer jsondiff lint-imports mako-render markdown-py
    normalizer numpy-config pyftmerge pyftsubset pygmentize pygrun pysemver sqlformat stubgen stubtest
    ttx
"""
# Booleans and null in YAML, devices of Windows, Docker's empty image, namespaces of Kubernetes.
WORDS = """
    false n no null off on true y yes aux con nul prn com1 com2 com3 com4 com5 com6 com7 com8 com9 lpt1
    lpt2 lpt3 lpt4 lpt5 lpt6 lpt7 lpt8 lpt9 scratch default kube-node-lease kube-public kube-system
"""
RESERVED = {*PROGRAMS.split(), *WORDS.split()}
# Characters of a path with which the PATH, MLflow's addresses, DVC's progress bars or Polars' patterns fail.
UNUSABLE = ':%?{}"\\*[\n\t'
# Marks a folder whose generation has begun; the other hook deletes it at the end.
UNFINISHED = "UNFINISHED.txt"


def main() -> None:
    """Refuse, or mark the folder as unfinished."""
    answers = json.loads(ANSWERS)
    for error in (*errors(answers, json.loads(TYPED)), *folder_errors(answers["__folder"])):
        sys.exit(error)
    with open(UNFINISHED, "w", encoding="utf-8") as marker:
        marker.write(
            "The generation of this project was interrupted. Delete this folder, and generate again.\n"
        )


def folder_errors(name: str) -> Iterator[str]:
    """Refuse a folder with files: with its options -f and -s, Cookiecutter would overwrite or delete them."""
    path = os.path.splitdrive(os.getcwd())[1].replace(os.sep, "/")
    if os.path.exists(UNFINISHED):
        yield f"The folder {name} is unfinished, as a generation was interrupted: delete it, and try again."
    elif character := next((character for character in path if character in UNUSABLE), None):
        yield f"MLflow, DVC or Polars fail in a path with {character!a}: generate elsewhere than in {path!a}."
    elif os.listdir():
        yield (
            f"The folder {name} is not empty, so nothing was written: generate the project elsewhere with "
            "--output-dir, and copy what you want to keep into it, such as .git."
        )


def errors(answers: dict[str, Any], typed: dict[str, str]) -> Iterator[str]:
    """Describe each error in the answers in one sentence."""
    for name, answer in answers.items():
        if name[0] != "_" and name != "project_slug":
            yield from text_errors(name, str(answer), str(typed.get(name, "")))
    yield from slug_errors(answers["project_slug"], answers["deployment"])


def text_errors(name: str, text: str, typed: str) -> Iterator[str]:
    """Check an answer in free text."""
    if not text or text != text.strip():
        yield f"{name} must not be empty, nor begin or end with white space."
    if len(text) > 200:
        yield f"{name} has {len(text)} characters; the maximum is 200."
    if any(map(is_unprintable, text)):
        yield f"{name} must be one line without control characters or invalid ones, unlike {text!a}."
    if re.search(r"[{][%#{]", text + typed):
        yield f"{name} must not contain Jinja syntax: two opening braces, or a brace before % or #."


def is_unprintable(character: str) -> bool:
    """Whether TOML, YAML or a terminal refuses the character."""
    # Control characters, surrogates, line and paragraph separators; then Unicode's noncharacters.
    return (
        unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"}
        or ord(character) & 0xFFFE == 0xFFFE
        or 0xFDD0 <= ord(character) <= 0xFDEF
    )


def slug_errors(slug: str, deployment: str) -> Iterator[str]:
    """Check that folder, package, bucket and namespace can have this name."""
    package = slug.replace("-", "_")
    if not slug:
        yield "project_slug is empty, because project_name has no letters: enter one, like penguin-model."
    elif len(slug) > MAX_SLUG_LENGTH or not SLUG.fullmatch(slug):
        yield (
            f"project_slug {slug!a} is not valid: use lower-case letters, digits and single hyphens, like "
            f"penguin-model; start with a letter; {MAX_SLUG_LENGTH} characters at most."
        )
    elif keyword.iskeyword(package) or keyword.issoftkeyword(package):
        yield f"project_slug {slug!r} is a Python keyword: enter another name, like {slug}-model."
    elif package in sys.stdlib_module_names:
        yield f"project_slug {slug!r} is in Python's standard library: enter another name, like {slug}-model."
    elif slug.replace("_", "-") in TAKEN:
        yield f"project_slug {slug!r} is a dependency or a folder: enter another name, like {slug}-model."
    elif slug.replace("_", "-") in RESERVED:
        yield f"project_slug {slug!r} is a program or a reserved word: enter another name, like {slug}-model."
    elif slug.startswith("prefect"):
        yield f"project_slug {slug!r} begins with 'prefect', which Prefect reserves: enter another name."
    elif "_" in slug and deployment == "kubernetes":
        yield f"project_slug {slug!r} cannot name a Kubernetes namespace: use hyphens instead of underscores."


if __name__ == "__main__":
    main()
