"""The files of pictures in a bucket of S3, or of whatever speaks its protocol (MinIO, Ceph, R2), by the client of pyarrow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

from pyarrow import fs

from router.errors import ConfigurationError, NotFound, StoreUnavailable
from router.stores.pictures import THUMBNAIL, picture_path

FIELD = "pictures.store"
FORM = "s3://BUCKET/PREFIX?endpoint=http://HOST:PORT&region=REGION"
CONNECT_S, ANSWER_S = 3.0, 30.0
"""Longest waits: for a connection, and for an object with all that the client does for it."""
ATTEMPTS = 2
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Bucket:
    name: str
    prefix: str = ""
    endpoint: str = ""
    """Host and port of what is not AWS."""
    scheme: str = "https"
    region: str | None = None
    """None: as the environment or AWS says."""

    @property
    def path(self) -> str:
        return f"{self.name}/{self.prefix}".rstrip("/")

    def __str__(self) -> str:
        return f"s3://{self.path}" + (f" at {self.endpoint}" if self.endpoint else "")


def bucket_of(url: str) -> Bucket:
    """Read the setting. Its text is in no message: somebody may have put a password there.

    Raises:
        ConfigurationError: It has not that form, or holds credentials.
    """
    try:
        parts = urlsplit(url)
        options = parse_qs(parts.query, strict_parsing=bool(parts.query))
        endpoint = urlsplit(options.get("endpoint", [""])[-1])
        _ = parts.port, endpoint.port  # raises for what is no number
    except ValueError as error:
        raise _wrong("it is no address") from error
    if "@" in parts.netloc or "@" in endpoint.netloc:
        raise _wrong("it holds a user or a password; credentials come from the environment (AWS_ACCESS_KEY_ID, AWS_PROFILE, a role, ...)")
    if parts.scheme != "s3" or not parts.netloc or ":" in parts.netloc or parts.fragment:
        raise _wrong("it is no address of a bucket")
    if unknown := options.keys() - {"endpoint", "region"}:
        raise _wrong(f"{', '.join(sorted(unknown))} cannot be set there")
    if "endpoint" in options and (endpoint.scheme not in ("http", "https") or not endpoint.netloc or endpoint.path.strip("/")):
        raise _wrong("the endpoint is no http(s) address of a host")
    region = options.get("region", [None])[-1]
    return Bucket(parts.netloc, parts.path.strip("/"), endpoint.netloc, endpoint.scheme or "https", region)


class S3PictureStore:
    """A PictureStore: `PREFIX/TENANT/AB/ABCD...`, as in a folder, so that one can be copied into the other. Open it by `open`.

    Credentials come from where AWS's clients look for them: the environment, its files, or the role of the machine.
    """

    def __init__(self, bucket: Bucket, files: Any) -> None:
        self._bucket = bucket
        self._files = files

    @classmethod
    async def open(cls, url: str) -> S3PictureStore:
        """Connect, and look whether the bucket is there.

        Raises:
            ConfigurationError: The address is wrong, or there is no such bucket.
            StoreUnavailable: The store does not answer, or refuses.
        """
        store = cls(bucket := bucket_of(url), None)
        async with store._errors():
            store._files = await asyncio.to_thread(
                fs.S3FileSystem,
                endpoint_override=bucket.endpoint or None,
                scheme=bucket.scheme,
                region=bucket.region,
                connect_timeout=CONNECT_S,
                retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
                allow_delayed_open=True,  # one request for a small object
            )
        await store.ping()
        return store

    async def ping(self) -> str:
        """What is there.

        Raises:
            ConfigurationError: The bucket is gone.
            StoreUnavailable: The store does not answer, or refuses.
        """
        info = await self._call(self._files.get_file_info, self._bucket.name)
        if info.type == fs.FileType.NotFound:
            raise ConfigurationError(f"{FIELD}: there is no bucket {self._bucket.name!r}: make it, or name another", field=FIELD)
        return str(self._bucket)

    async def put(self, tenant: str, picture_id: str, content: bytes, thumbnail: bytes) -> None:
        path = self._path(tenant, picture_id)
        # The thumbnail first: where the file is, all of it is. An object is there when all of it is.
        await self._call(self._write, path + THUMBNAIL, thumbnail)
        await self._call(self._write, path, content)

    async def read(self, tenant: str, picture_id: str) -> bytes:
        return await self._read(self._path(tenant, picture_id), picture_id)

    async def thumbnail(self, tenant: str, picture_id: str) -> bytes:
        return await self._read(self._path(tenant, picture_id) + THUMBNAIL, picture_id)

    async def delete(self, tenant: str, picture_id: str) -> None:
        path = self._path(tenant, picture_id)
        for file in (path, path + THUMBNAIL):
            await self._call(self._delete, file)

    async def ids(self, tenant: str) -> set[str]:
        folder = fs.FileSelector(f"{self._bucket.path}/{tenant}", allow_not_found=True, recursive=True)
        found = await self._call(self._files.get_file_info, folder)
        return {info.base_name.removesuffix(THUMBNAIL) for info in found if info.is_file}

    def _path(self, tenant: str, picture_id: str) -> str:
        return f"{self._bucket.path}/{picture_path(tenant, picture_id)}"

    def _write(self, path: str, content: bytes) -> None:
        with self._files.open_output_stream(path) as stream:
            stream.write(content)

    def _delete(self, path: str) -> None:
        try:
            self._files.delete_file(path)
        except FileNotFoundError:
            return

    def _content(self, path: str) -> bytes:
        with self._files.open_input_stream(path) as stream:
            content: bytes = stream.read()
            return content

    async def _read(self, path: str, picture_id: str) -> bytes:
        try:
            return await self._call(self._content, path)
        except FileNotFoundError as exc:
            raise NotFound(f"there is no picture {picture_id!r}", field="picture_id") from exc

    async def _call(self, operation: Callable[..., _T], *arguments: Any) -> _T:
        async with self._errors(), asyncio.timeout(ANSWER_S):
            return await asyncio.to_thread(operation, *arguments)

    @asynccontextmanager
    async def _errors(self) -> AsyncIterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:  # also a TimeoutError
            raise StoreUnavailable(f"the pictures' store {self._bucket} fails: {str(error) or 'it does not answer in time'}") from error


def _wrong(what: str) -> ConfigurationError:
    return ConfigurationError(f"{FIELD}: {what}; allowed: {FORM}, or nothing for a folder", field=FIELD)
