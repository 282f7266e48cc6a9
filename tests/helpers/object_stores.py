"""An S3 server on this machine, a proxy that spoils what passes through, a web server of ranges."""

from __future__ import annotations

import contextlib
import http.client
import logging
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import ThreadingMixIn
from typing import Any

import pytest

KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing-secret"}
BUCKET = "bucket"


@dataclass
class Store:
    """A running S3 server.

    Attributes
    ----------
    host, port
        Where it listens.
    """

    host: str
    port: int

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def objects(self) -> dict[str, bytes]:
        """Return the content of all objects, by key, past the server."""
        from moto.s3.models import s3_backends

        keys = s3_backends["123456789012"]["aws"].buckets[BUCKET].keys
        return {name: key.value for name, key in keys.items()}

    def uploads(self) -> int:
        """Count the uploads that are not finished."""
        from moto.s3.models import s3_backends

        return len(s3_backends["123456789012"]["aws"].buckets[BUCKET].multiparts)

    def fill(self, names: list[str], data: bytes = b"x") -> None:
        """Put many objects, past the server."""
        from moto.s3.models import s3_backends

        backend = s3_backends["123456789012"]["aws"]
        for name in names:
            backend.put_object(BUCKET, name, data)


@contextlib.contextmanager
def s3_server() -> Iterator[Store]:
    """Run moto's server on the loopback, with one bucket."""
    moto = pytest.importorskip("moto.server")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        store = Store(*server.get_host_and_port())
        request(store, "PUT", f"/{BUCKET}")
        yield store
    finally:
        server.stop()


def request(store: Store, method: str, path: str, body: bytes = b"") -> bytes:
    """Make one plain request."""
    connection = http.client.HTTPConnection(store.host, store.port, timeout=20)
    try:
        connection.request(method, path, body)
        return connection.getresponse().read()
    finally:
        connection.close()


def settled(holds: Callable[[], bool]) -> None:
    """Wait for what the servers note after they have answered."""
    for _ in range(500):
        if holds():
            return
        time.sleep(0.01)
    raise AssertionError("the server has not noted what was waited for")


def use(monkeypatch: pytest.MonkeyPatch, url: str, patience: float = 20) -> None:
    """Have s3:// go to a server, with made-up credentials and a short patience."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3", "FSSPEC_S3_ANON"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    settings = KEYS | {
        "AWS_ENDPOINT_URL": url,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/nonexistent",
        "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
        "MEDDEL_REMOTE_PATIENCE": str(patience),
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)


@dataclass
class Proxy:
    """What a proxy has seen, and what it does.

    Attributes
    ----------
    spoil
        Asked for each request, as ``spoil(method, path, number)``, number counting from 1: what to
        do instead of passing it on. ``""`` passes it on, ``"503"`` (or another status) answers so,
        ``"reset"`` ends the connection, ``"half"`` sends half of the answer's body and ends it,
        ``"all"`` passes it on without its range, ``"lose"`` passes it on and ends the connection,
        ``"wait 3"`` waits so many seconds first, ``"flip"`` passes another body on.
    """

    url: str = ""
    spoil: Callable[[str, str, int], str] = lambda method, path, number: ""
    requests: list[tuple[str, str]] = field(default_factory=list)
    sent: int = 0  # bytes of bodies that went to the client

    def counts(self) -> Counter[str]:
        """Count the requests by method."""
        return Counter(method for method, _ in self.requests)


class _Server(ThreadingMixIn, HTTPServer):
    daemon_threads = True

    def handle_error(self, *args: Any) -> None:
        """Say nothing of clients that went away."""


@contextlib.contextmanager
def proxy(store: Store) -> Iterator[Proxy]:
    """Run a proxy in front of a store."""
    about, lock = Proxy(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: Any) -> None:
            pass

        def handle_one_request(self) -> None:
            with contextlib.suppress(ConnectionError, TimeoutError):
                super().handle_one_request()

        def pass_on(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            with lock:
                about.requests.append((self.command, self.path))
                number = len(about.requests)
            wish = about.spoil(self.command, self.path, number)
            if wish.startswith("wait"):
                time.sleep(float(wish.split()[1]))
                wish = ""
            if self.headers.get("Expect") == "100-continue":
                self.send_response_only(100)
                self.end_headers()
            body = self.rfile.read(size)
            if len(body) < size:  # the client died in the middle
                self.close_connection = True
                return
            if wish == "reset":
                self.reset()
                return
            if wish.isdigit():
                self.answer(int(wish), {}, b"")
                return
            headers = {k: v for k, v in self.headers.items() if k.lower() != "expect"}
            if wish == "flip":
                body = bytes([body[0] ^ 1]) + body[1:]
                headers = {k: v for k, v in headers.items() if k.lower() != "content-md5"}
            if wish == "all":
                headers = {k: v for k, v in headers.items() if k.lower() != "range"}
            onward = http.client.HTTPConnection(store.host, store.port, timeout=30)
            try:
                onward.request(self.command, self.path, body, headers)
                got = onward.getresponse()
                data = got.read()
            finally:
                onward.close()
            if wish == "lose":
                self.reset()
                return
            told = {k: v for k, v in got.getheaders() if k.lower() not in _HOPS}
            length = got.getheader("Content-Length") if self.command == "HEAD" else None
            self.answer(got.status, told, data, length, half=wish == "half")

        def answer(
            self,
            status: int,
            headers: dict[str, str],
            data: bytes,
            length: str | None = None,
            half: bool = False,
        ) -> None:
            self.send_response_only(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", length or str(len(data)))
            self.end_headers()
            shown = data[: len(data) // 2] if half else data
            self.wfile.write(shown)
            about.sent += len(shown)
            if half:
                self.wfile.flush()
                self.reset()

        def reset(self) -> None:
            linger = b"\x01\0\0\0\0\0\0\0"  # on, 0 seconds: the other side sees a reset
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.close_connection = True
            self.connection.close()

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = pass_on  # noqa: N815

    with serving(_Server(("127.0.0.1", 0), Handler)) as url:
        about.url = url
        yield about


_HOPS = ("content-length", "transfer-encoding", "connection")


@contextlib.contextmanager
def serving(server: HTTPServer) -> Iterator[str]:
    """Run a server in a thread, and give its address."""
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


@contextlib.contextmanager
def web_server(files: dict[str, bytes], *, ranges: bool = True) -> Iterator[tuple[str, list[Any]]]:
    """Serve bytes by name over http, by ranges or as a server that does not know them.

    The address and a list of the requests as (method, name, range) are given.
    """
    seen: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            name = self.path.partition("?")[0].lstrip("/")
            wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            seen.append((self.command, self.path, self.headers.get("Range")))
            data = files.get(name)
            if data is None:
                self.say(404, b"")
            elif wanted and ranges:
                start, stop = int(wanted[1]), min(int(wanted[2]) + 1, len(data))
                self.say(206, data[start:stop], f"bytes {start}-{stop - 1}/{len(data)}")
            else:
                self.say(200, data)

        def say(self, status: int, data: bytes, part: str = "") -> None:
            self.send_response_only(status)
            self.send_header("Content-Length", str(len(data)))
            if part:
                self.send_header("Content-Range", part)
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                self.wfile.write(data)

    with serving(_Server(("127.0.0.1", 0), Handler)) as url:
        yield url, seen
