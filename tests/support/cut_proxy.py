"""A TCP proxy that cuts a connection after a given byte of either direction; what came before is delivered."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from types import TracebackType
from typing import Self

OUT, IN = "out", "in"  # client to server, server to client


class CutProxy:
    """One connection at a time, served by a thread of its own. `arm` chooses where the next connection is cut."""

    def __init__(self, server: tuple[str, int]) -> None:
        self._server = server
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(8)
        self.port: int = self._listener.getsockname()[1]
        self._budget: dict[str, int | None] = {OUT: None, IN: None}
        self._next: dict[str, int | None] = {OUT: None, IN: None}
        self._drop = self._over = False
        self.connections = 0
        self.cuts = 0
        self.bytes = {OUT: 0, IN: 0}  # passed in the present connection
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def arm(self, direction: str, byte: int) -> None:
        """End the present connection, and cut the next one after so many bytes of this direction; later ones pass."""
        self._next = {OUT: None, IN: None, direction: byte}
        self._drop = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        self._listener.settimeout(0.05)
        while not self._over:
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            self._budget, self._next = self._next, {OUT: None, IN: None}
            self._drop = False
            self.connections += 1
            self.bytes = {OUT: 0, IN: 0}
            with contextlib.suppress(OSError), client, socket.create_connection(self._server) as server:
                for line in (client, server):
                    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._relay(client, server)

    def _relay(self, client: socket.socket, server: socket.socket) -> None:
        ways = {client: (OUT, server), server: (IN, client)}
        while not self._over and not self._drop:
            if 0 in self._budget.values():
                self.cuts += 1
                return
            ready, _, _ = select.select(list(ways), [], [], 0.01)
            for source in ready:
                direction, target = ways[source]
                left = self._budget[direction]
                data = source.recv(65536 if left is None else left)
                if not data:
                    return
                target.sendall(data)
                self.bytes[direction] += len(data)
                if left is not None:
                    self._budget[direction] = left - len(data)
                    break  # a cut comes before another byte of either side
