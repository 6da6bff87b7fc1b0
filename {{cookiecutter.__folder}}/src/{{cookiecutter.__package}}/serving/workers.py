"""Several processes that answer."""

from uvicorn import Config
from uvicorn.supervisors import Multiprocess


class Workers(Multiprocess):
    """uvicorn's supervisor, which also stops listening when it is told to stop."""

    def __init__(self, config: Config) -> None:
        """Open the port that the processes share."""
        super().__init__(config, [config.bind_socket()])

    def terminate_all(self) -> None:
        """Close the port here, too: otherwise connections are accepted that no process answers."""
        for socket in self.sockets:
            socket.close()
        super().terminate_all()
