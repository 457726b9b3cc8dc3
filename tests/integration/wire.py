"""The wire between a client and a server on this machine, for tests: counts what the client sends, and can hold it up."""

import select
import socket
import threading

PIECE_BYTES = 1 << 16


class Wire:
    """Forwards connections to `server` ("HOST:PORT"). `sent` is how many bytes clients have sent through it.

    With `hold_after`, the bytes after that many stay with the client until the wire is cut: what it was sending is provably
    under way, and provably not done. Its end cuts everything."""

    def __init__(self, server, hold_after=None):
        host, _, port = server.rpartition(":")
        self._server = (host, int(port))
        self._hold_after = hold_after
        self._stop_read, self._stop_write = socket.socketpair()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.sent = 0
        self._thread = threading.Thread(target=self._forward)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop_write.close()
        self._thread.join()
        self._listener.close()
        self._stop_read.close()

    def is_held(self):
        return self._hold_after is not None and self.sent >= self._hold_after

    def _forward(self):
        clients, peers = set(), {}  # peers: the other end of each connection, both ways

        def close(end):
            for one in (end, peers.pop(end, end)):
                peers.pop(one, None)
                clients.discard(one)
                one.close()

        while True:
            held = clients if self.is_held() else set()
            ready, _, _ = select.select([self._listener, self._stop_read, *(peers.keys() - held)], [], [])
            if self._stop_read in ready:
                break
            for end in ready:
                if end is self._listener:
                    client = end.accept()[0]
                    server = socket.create_connection(self._server)
                    clients.add(client)
                    peers[client], peers[server] = server, client
                elif end in peers:  # not closed a moment ago
                    try:
                        data = end.recv(PIECE_BYTES)
                        if data:
                            peers[end].sendall(data)
                    except OSError:
                        data = b""
                    if not data:
                        close(end)
                    elif end in clients:
                        self.sent += len(data)
        for end in list(peers):
            close(end)
