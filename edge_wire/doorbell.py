"""Wakes a thread that polls: by a byte through a socket, of which no second is on its way."""

import socket
import threading


class Doorbell:
    """Rung by any thread, heard by one that polls ``ear``."""

    def __init__(self) -> None:
        """Open both ends."""
        self.ear, self._button = socket.socketpair()
        self.ear.setblocking(False)
        self._button.setblocking(False)
        self._lock = threading.Lock()
        """Or a ring could reach whoever got the descriptor after us."""
        self._rung = False
        """Whether the one that polls is going to look around anyway."""
        self._open = True

    def ring(self) -> None:
        """Let the one that polls look around; nothing where it is closed."""
        if self._rung:
            return
        with self._lock:
            if self._open and not self._rung:
                self._rung = True
                self._button.send(b"!")

    def hush(self, heard: bool) -> None:
        """Be ready to ring again; before one looks around, or what comes in between would wait.

        Args:
            heard: whether there is something to read at ``ear``.
        """
        if heard:
            self.ear.recv(1 << 12)
        self._rung = False

    def close(self) -> None:
        """Close both ends."""
        with self._lock:
            self._open = False
            self._button.close()
            self.ear.close()
