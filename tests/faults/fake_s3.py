"""An S3-like store on loopback with the requests that pyarrow makes, as slow and as unreliable as it is told to be."""

from __future__ import annotations

import contextlib
import hashlib
import io
import random
import threading
import time
import urllib.parse
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SLOW_DOWN = "<Error><Code>SlowDown</Code><Message>Reduce your request rate</Message></Error>"
NO_KEY = "<Error><Code>NoSuchKey</Code><Message>There is none</Message></Error>"


class FakeS3(ThreadingHTTPServer):
    """Objects in memory by `bucket/key`.

    Args:
        latency: seconds that every request takes at least.
        errors: share of requests that are answered 503 SlowDown.
        seed: of the errors.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, *, latency: float = 0.0, errors: float = 0.0, seed: int = 0) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.latency, self.errors = latency, errors
        self._random = random.Random(seed)
        self.lock = threading.Lock()
        self.objects: dict[str, bytes] = {}
        self.parts: dict[str, dict[int, bytes]] = {}
        self.requests: Counter[str] = Counter()
        self.refused = 0

    def address(self, path: str) -> str:
        """Return the address of `bucket/prefix` for a runner's storage."""
        return f"s3://{path}?endpoint_override=127.0.0.1:{self.server_port}&scheme=http&region=us-east-1"

    def fails(self) -> bool:
        """Decide whether a request is refused."""
        with self.lock:
            unlucky = self._random.random() < self.errors
            self.refused += unlucky
        return unlucky

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that was killed in a request."""


@contextlib.contextmanager
def serving(**settings: Any) -> Iterator[FakeS3]:
    """Serve in a thread while the context lasts."""
    with FakeS3(**settings) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeS3

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def _serve(self) -> None:
        parsed = urllib.parse.urlsplit(self.path)
        self.key = urllib.parse.unquote(parsed.path).strip("/")
        self.query = dict(urllib.parse.parse_qsl(parsed.query, keep_blank_values=True))
        body = self._body()
        time.sleep(self.server.latency)
        self.server.requests[self.command] += 1
        if self.server.fails():
            self._answer(503, SLOW_DOWN.encode())
        else:
            with self.server.lock:
                self._deal(body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815 - http.server asks for these

    def _deal(self, body: bytes) -> None:
        objects, parts = self.server.objects, self.server.parts
        upload = self.query.get("uploadId")
        if self.command in ("GET", "HEAD"):
            self._list() if "list-type" in self.query else self._get()
        elif self.command == "PUT" and upload is not None:
            parts[upload][int(self.query["partNumber"])] = body
            self._answer(200, etag=body)
        elif self.command == "PUT":
            objects[self.key] = body
            self._answer(200, etag=body)
        elif self.command == "DELETE":
            parts.pop(upload, None) if upload is not None else objects.pop(self.key, None)
            self._answer(204)
        elif "uploads" in self.query:
            parts[identity := str(len(parts))] = {}
            self._xml("InitiateMultipartUploadResult", UploadId=identity, Key=self.key)
        else:
            assert upload is not None, "only multipart uploads are posted"
            objects[self.key] = b"".join(part for _, part in sorted(parts.pop(upload).items()))
            self._xml("CompleteMultipartUploadResult", Key=self.key, ETag='"whole"')

    def _get(self) -> None:
        content = self.server.objects.get(self.key)
        if content is None:
            is_bucket = "/" not in self.key
            return self._answer(200 if is_bucket else 404, b"" if is_bucket else NO_KEY.encode())
        first, _, last = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        part = content[int(first) : int(last) + 1 if last else None]
        return self._answer(206 if "Range" in self.headers else 200, part, etag=content)

    def _list(self) -> None:
        prefix, delimiter = self.query.get("prefix", ""), self.query.get("delimiter", "")
        root = ET.Element("ListBucketResult", xmlns="http://s3.amazonaws.com/doc/2006-03-01/")
        folders: set[str] = set()
        for key, content in sorted(self.server.objects.items()):
            bucket, _, name = key.partition("/")
            if bucket != self.key or not name.startswith(prefix):
                continue
            rest = name[len(prefix) :]
            if delimiter and delimiter in rest:
                folders.add(prefix + rest.partition(delimiter)[0] + delimiter)
                continue
            entry = ET.SubElement(root, "Contents")
            for tag, text in (("Key", name), ("Size", str(len(content))), ("LastModified", "2026-01-01T00:00:00.000Z")):
                ET.SubElement(entry, tag).text = text
        for folder in sorted(folders):
            ET.SubElement(ET.SubElement(root, "CommonPrefixes"), "Prefix").text = folder
        ET.SubElement(root, "IsTruncated").text = "false"
        self._answer(200, ET.tostring(root))

    def _xml(self, tag: str, **content: str) -> None:
        root = ET.Element(tag)
        for name, text in content.items():
            ET.SubElement(root, name).text = text
        self._answer(200, ET.tostring(root))

    def _answer(self, status: int, body: bytes = b"", *, etag: bytes | None = None) -> None:
        self.send_response(status)
        if etag is not None:
            self.send_header("ETag", f'"{hashlib.md5(etag).hexdigest()}"')
            self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _body(self) -> bytes:
        """Read the request's body: of known length or in chunks, and in the AWS client's own chunks inside those."""
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = unchunked(self.rfile)
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return unchunked(io.BytesIO(body)) if "aws-chunked" in self.headers.get("Content-Encoding", "") else body


def unchunked(stream: io.BufferedIOBase) -> bytes:
    """Read chunks, each behind a line with its length in hexadecimal digits, and the lines behind the last one."""
    body = b""
    while size := int(stream.readline().split(b";")[0], 16):
        body += stream.read(size)
        stream.readline()
    while stream.readline().strip():
        pass
    return body
