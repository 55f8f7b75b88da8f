"""A small object server on loopback that speaks as much of S3 as the store needs. It asks for no credentials; it is not S3."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import uuid4
from xml.sax.saxutils import escape

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "from-the-environment",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_EC2_METADATA_DISABLED": "true",
}
PAGE = 3
"""Keys that are listed at a time."""


class ObjectServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, bytes] = {}
        """Bucket and key -> content."""
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.refusal: int | None = None
        """Status of every answer, while it is set; 0 closes the connection without one."""
        self.requests: list[str] = []
        self.authorizations: list[str] = []

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def serving() -> Iterator[ObjectServer]:
    """One bucket, named `bucket`."""
    with ObjectServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: ObjectServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        self.server.requests.append(f"{self.command} {urlsplit(self.path).path}")
        self.server.authorizations.append(self.headers.get("Authorization", ""))

    def _answer(self) -> None:
        address = urlsplit(self.path)
        path, query = unquote(address.path).lstrip("/"), parse_qs(address.query, keep_blank_values=True)
        body = self._body()
        bucket, _, key = path.partition("/")
        if self.server.refusal == 0:
            self.close_connection = True
        elif self.server.refusal is not None:
            self._error(self.server.refusal, "AccessDenied" if self.server.refusal == 403 else "InternalError")
        elif bucket != "bucket":
            self._error(404, "NoSuchBucket")
        elif not key:
            self._bucket(query)
        elif self.command == "POST" or "uploadId" in query:
            self._multipart(path, query, body)
        else:
            self._object(path, body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _answer  # noqa: N815

    def _bucket(self, query: dict[str, list[str]]) -> None:
        prefix, after = query.get("prefix", [""])[0], query.get("continuation-token", [""])[0]
        keys = sorted(name.removeprefix("bucket/") for name in self.server.objects)
        keys = [key for key in keys if key.startswith(prefix) and key > after]
        told = keys[:PAGE]
        contents = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(self.server.objects[f'bucket/{key}'])}</Size>"
            "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            for key in told
        )
        more = f"<NextContinuationToken>{escape(told[-1])}</NextContinuationToken>" if len(keys) > PAGE else ""
        truncated = f"<IsTruncated>{str(bool(more)).lower()}</IsTruncated>"
        self._xml(f"<ListBucketResult><Name>bucket</Name><KeyCount>{len(told)}</KeyCount>{truncated}{more}{contents}</ListBucketResult>")

    def _object(self, path: str, body: bytes) -> None:
        if self.command == "PUT":
            self.server.objects[path] = body
            self._send(200, b"", {"ETag": '"tag"'})
        elif self.command == "DELETE":
            self.server.objects.pop(path, None)
            self._send(204, b"", {})
        elif path not in self.server.objects:
            self._error(404, "NoSuchKey")
        else:
            content, headers = self.server.objects[path], {"ETag": '"tag"', "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}
            wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            if wanted is None:
                self._send(200, content, headers)
            else:
                first, last = int(wanted[1]), min(int(wanted[2]), len(content) - 1)
                self._send(206, content[first : last + 1], headers | {"Content-Range": f"bytes {first}-{last}/{len(content)}"})

    def _multipart(self, path: str, query: dict[str, list[str]], body: bytes) -> None:
        if "uploads" in query:
            upload = uuid4().hex
            self.server.uploads[upload] = {}
            self._xml(f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>")
        elif self.command == "PUT":
            self.server.uploads[query["uploadId"][0]][int(query["partNumber"][0])] = body
            self._send(200, b"", {"ETag": '"tag"'})
        elif self.command == "POST":
            parts = self.server.uploads.pop(query["uploadId"][0])
            self.server.objects[path] = b"".join(parts[number] for number in sorted(parts))
            self._xml('<CompleteMultipartUploadResult><ETag>"tag"</ETag></CompleteMultipartUploadResult>')
        else:
            self.server.uploads.pop(query["uploadId"][0], None)
            self._send(204, b"", {})

    def _body(self) -> bytes:
        raw = self.rfile
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            body = b""
            while size := int(raw.readline().split(b";")[0], 16):
                body += raw.read(size)
                raw.readline()
            raw.readline()
        else:
            body = raw.read(int(self.headers.get("Content-Length", 0)))
        return _unchunked(body) if "aws-chunked" in self.headers.get("Content-Encoding", "") else body

    def _xml(self, text: str) -> None:
        self._send(200, f'<?xml version="1.0" encoding="UTF-8"?>{text}'.encode(), {"Content-Type": "application/xml"})

    def _error(self, status: int, code: str) -> None:
        self._send(status, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode(), {"Content-Type": "application/xml"})

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _unchunked(body: bytes) -> bytes:
    """What AWS's signed chunks hold: `SIZE;chunk-signature=...`, the bytes, and so on; trailers follow the empty one."""
    content, at = b"", 0
    while True:
        end = body.index(b"\r\n", at)
        size = int(body[at:end].split(b";")[0], 16)
        if not size:
            return content
        content += body[end + 2 : end + 2 + size]
        at = end + 2 + size + 2
