"""Storages that DVC's remote may be on, served on loopback, and told to a project as a person would."""

import asyncio
import base64
import os
import secrets
import shutil
import signal
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from threading import Event, Thread

import asyncssh
import boto3
from botocore.client import BaseClient
from gcp_storage_emulator.server import create_server
from moto.server import ThreadedMotoServer
from running import Running, free_port

# What a process must be told beside .env.
Environment = dict[str, str]
AZURITE = ("npx", "--yes", "--package", "azurite@3.35.0", "azurite-blob")
# With the library that DVC itself uses.
CONTAINER = """
import sys
from azure.storage.blob import BlobServiceClient
text = open(".env").read().partition("=")[2].strip()
BlobServiceClient.from_connection_string(text).create_container(sys.argv[1])
print("[]")
"""


def bucket_of(project: Running) -> str:
    """Return the name of the bucket, or of Azure's container, that the project expects."""
    return f"{project.path.name.replace('_', '-')}-data"


@contextmanager
def s3(project: Running) -> Iterator[BaseClient]:
    """Serve S3, put address and keys into .env, and yield a client."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url, key, secret, region = f"http://{host}:{port}", "key", "secret", "us-east-1"
    client = boto3.client(
        "s3", endpoint_url=url, region_name=region, aws_access_key_id=key, aws_secret_access_key=secret
    )
    (project.path / ".env").write_text(
        f"AWS_ENDPOINT_URL={url}\nAWS_ACCESS_KEY_ID={key}\nAWS_SECRET_ACCESS_KEY={secret}\nAWS_REGION={region}\n"
    )
    try:
        yield client
    finally:
        # What is stored, and who may ask, is kept by the process: the next server would have it, too.
        refuse_after(client, "inf")
        _tell(client, "reset")
        client.close()
        server.stop()


def refuse_after(client: BaseClient, count: str) -> None:
    """From now on, answer that many requests, and then only who was given a permission: nobody was."""
    _tell(client, "reset-auth", count)


def _tell(client: BaseClient, verb: str, said: str = "") -> None:
    url = f"{client.meta.endpoint_url}/moto-api/{verb}"
    request = urllib.request.Request(url, said.encode(), {"Content-Type": "text/plain"})  # noqa: S310 - on loopback
    urllib.request.urlopen(request).close()  # noqa: S310


@contextmanager
def bucket(project: Running) -> Iterator[Environment]:
    """Serve S3 with the project's bucket."""
    with s3(project) as client:
        client.create_bucket(Bucket=bucket_of(project))
        yield {}


@contextmanager
def gcs(project: Running) -> Iterator[Environment]:
    """Emulate Google's storage, which asks for no key."""
    port = free_port()
    server = create_server("127.0.0.1", port, in_memory=True, default_bucket=bucket_of(project))
    with server:
        # There is no key to look for, neither here nor at the machine's metadata service.
        yield {"STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}", "NO_GCE_CHECK": "true"}


@contextmanager
def azure(project: Running) -> Iterator[Environment]:
    """Emulate Azure's storage by Microsoft's own emulator, and put account and key into .env."""
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    port = free_port()
    options = [
        "--blobPort",
        str(port),
        "--location",
        str(project.path.parent / "azurite"),
        "--disableTelemetry",
    ]
    server = subprocess.Popen(
        [*AZURITE, "--blobHost", "127.0.0.1", "--skipApiVersionCheck", *options],
        env=os.environ | {"AZURITE_ACCOUNTS": f"team:{key}"},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert server.stdout
        with closing(server.stdout) as said:
            assert any("successfully listens" in line for line in said)
            account = f"DefaultEndpointsProtocol=http;AccountName=team;AccountKey={key}"
            endpoint = f"BlobEndpoint=http://127.0.0.1:{port}/team"
            (project.path / ".env").write_text(f"AZURE_STORAGE_CONNECTION_STRING={account};{endpoint}\n")
            project.ask(CONTAINER, bucket_of(project))
            yield {}
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


@contextmanager
def ssh(project: Running) -> Iterator[Environment]:
    """Serve a folder over SSH to who has the key, and put host and key into ~/.ssh."""
    own = Path(project.env()["HOME"]) / ".ssh"
    own.mkdir(mode=0o700)
    key, host = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    key.write_private_key(str(own / "id_ed25519"))
    key.write_public_key(str(own / "id_ed25519.pub"))
    (own / "id_ed25519").chmod(0o600)
    root = project.path.parent / "storage"
    root.mkdir()
    ready, over = Event(), Event()

    async def serve() -> None:
        server = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[host],
            authorized_client_keys=str(own / "id_ed25519.pub"),
            sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=str(root).encode()),
        )
        async with server:
            where = f"HostName 127.0.0.1\n  Port {server.get_port()}\n  User team"
            (own / "config").write_text(f"Host storage.example.org\n  {where}\n")
            known = f"[127.0.0.1]:{server.get_port()} {host.export_public_key().decode()}"
            (own / "known_hosts").write_text(known)
            ready.set()
            await asyncio.to_thread(over.wait)

    thread = Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(timeout=30)
        yield {}
    finally:
        over.set()
        thread.join()


@contextmanager
def local(_: Running) -> Iterator[Environment]:
    """Serve nothing: the remote is a folder of the home."""
    yield {}


SERVED: dict[str, Callable[[Running], AbstractContextManager[Environment]]] = {
    "local": local,
    "s3": bucket,
    "gcs": gcs,
    "azure": azure,
    "ssh": ssh,
}


def dvc(project: Running, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run DVC with the keys of .env; it may fail."""
    command = [str(project.environment / "bin/python"), "-m", project.package, "dvc", *arguments]
    env = project.env() | more
    return subprocess.run(command, cwd=project.path, env=env, capture_output=True, text=True, check=False)


def push_and_pull(project: Running, clone: Path, **more: str) -> Path:
    """Push a new table, pull it in a clone, and return its path."""
    table = project.path / "data/raw/own.csv"
    table.write_text("a,b\n" + "1,2\n" * 50, encoding="utf-8")
    assert dvc(project, "add", "--quiet", "data/raw/own.csv").returncode == 0
    pushed = dvc(project, "push", "--quiet", "data/raw/own.csv.dvc", **more)
    assert pushed.returncode == 0, pushed.stderr
    project.git("add", ".")
    project.git("commit", "--quiet", "--message", "Add a table")
    other = project._replace(path=clone)
    project.git("clone", "--quiet", str(project.path), str(clone))
    if (project.path / ".env").exists():
        shutil.copy(project.path / ".env", clone)
    pulled = dvc(other, "pull", "--quiet", "data/raw/own.csv.dvc", **more)
    assert pulled.returncode == 0, pulled.stderr
    assert (clone / "data/raw/own.csv").read_bytes() == table.read_bytes()
    return table
