"""Run a command that ends when its parent does: `python -m … COMMAND`, with a pipe of the parent's as stdin."""

import os
import signal
import subprocess
import sys
import threading


def main() -> None:
    """Run the command in a group of its own; end the group when stdin is closed, by the parent or by its death."""
    command = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True)

    def end_with_parent() -> None:
        sys.stdin.buffer.read()
        os.killpg(command.pid, signal.SIGTERM)
        try:
            command.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(command.pid, signal.SIGKILL)

    threading.Thread(target=end_with_parent, daemon=True).start()
    sys.exit(command.wait())


if __name__ == "__main__":
    main()
