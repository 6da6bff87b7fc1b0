"""The verbs of the command line: what they say, and what is said where they cannot do it."""

import socket
import sys

import pytest

from penguin_model import cli, tracking, ui


def test_taken_port_is_said_and_the_next_is_used(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert ui.free_port(port, "It") > port
    assert f"Port {port} is taken, so It is on" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("verb", "said"), [("prepare", ""), ("status", f"{tracking.NAME} version"), ("--help", "train")]
)
def test_verb_answers(verb, said, trained, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [tracking.NAME, verb])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    assert said in capsys.readouterr().out


def test_error_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", [tracking.NAME, "train"])
    monkeypatch.setenv("PROJECT_ROOT", str(tmp_path))
    with pytest.raises(SystemExit, match=r"params\.yaml is missing in"):
        cli.main()
