"""What Azure Web PubSub's REST API does, as far as the service asks it; it can be away."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Request:
    """What was asked."""

    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class PubSub:
    """What came while it was there, and what it answers."""

    url: str = ""
    status: int = 0
    answer: bytes = b'{"token": "a.b/c"}'
    requests: list[Request] = field(default_factory=list)

    @property
    def sent(self) -> list[bytes]:
        """The messages."""
        return [one.body for one in self.requests if "/:send?" in one.target]


@contextmanager
def pubsub_running() -> Iterator[PubSub]:
    """A service on a free port."""
    found = PubSub()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            token = "/:generateToken?" in self.path
            if not found.status:
                found.requests.append(Request(self.path, dict(self.headers), body))
            self.send_response(found.status or (200 if token else 202))
            self.end_headers()
            if token and not found.status:
                self.wfile.write(found.answer)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
