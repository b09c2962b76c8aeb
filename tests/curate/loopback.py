"""A plain web server of pictures on this machine, which remembers what it was asked."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from lt_extrap.curate.web.download import Downloader


class Pictures(ThreadingHTTPServer):
    """Serves the files of a folder; a path that is in `status` is answered with that status.

    Attributes:
        asked: paths of all requests, robots.txt aside, in the order in which they came.
        folder: of the files.
        status: by path.
        headers: of each answer.
    """

    daemon_threads, request_queue_size = True, 128

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder, self.asked, self.status = folder, list[str](), dict[str, int]()
        self.headers = dict[str, str]()

    def handle_error(self, *args: object) -> None:
        """Leave a connection that was cut alone."""

    @property
    def address(self) -> str:
        """Without a slash at its end."""
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def downloader(self) -> "partial[Downloader]":
        """Makes downloaders that may connect to this server."""
        return partial(Downloader, loopback=frozenset({self.server_port}))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Pictures

    def do_GET(self) -> None:
        path = self.path.lstrip("/")
        file = self.server.folder / path
        if path != "robots.txt":
            self.server.asked.append(path)
        status = self.server.status.get(path, 200 if file.is_file() else 404)
        content = file.read_bytes() if status == 200 else b""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **self.server.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def serving(folder: Path) -> Iterator[Pictures]:
    server = Pictures(folder)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
