"""The files of pictures and their thumbnails, by tenant and the sha256 of the file."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from router.errors import NotFound, StoreUnavailable
from router.stores.durable_file import write_durably

THUMBNAIL = ".thumbnail.jpg"


class PictureStore(Protocol):
    """An object store. Objects never change, since their ids are hashes of what is in them."""

    async def put(self, tenant: str, picture_id: str, content: bytes, thumbnail: bytes) -> None:
        """Keep a picture. Durable when it returns; idempotent."""

    async def read(self, tenant: str, picture_id: str) -> bytes:
        """The file as it was ingested.

        Raises:
            NotFound: It is not there.
        """

    async def thumbnail(self, tenant: str, picture_id: str) -> bytes:
        """A JPEG of at most 20 kB.

        Raises:
            NotFound: It is not there.
        """

    async def delete(self, tenant: str, picture_id: str) -> None:
        """Remove file and thumbnail. Removing what is not there is fine."""

    async def ids(self, tenant: str) -> set[str]:
        """What is there."""


class FolderPictureStore:
    """A PictureStore in a folder: `TENANT/AB/ABCD...`, each file written whole or not at all.

    Args:
        folder: Made with the first picture.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def put(self, tenant: str, picture_id: str, content: bytes, thumbnail: bytes) -> None:
        path = self._path(tenant, picture_id)
        with _disk_errors():
            # The thumbnail first: where the file is, all of it is.
            await asyncio.to_thread(write_durably, _thumbnail_of(path), thumbnail)
            await asyncio.to_thread(write_durably, path, content)

    async def read(self, tenant: str, picture_id: str) -> bytes:
        return await self._read(self._path(tenant, picture_id), picture_id)

    async def thumbnail(self, tenant: str, picture_id: str) -> bytes:
        return await self._read(_thumbnail_of(self._path(tenant, picture_id)), picture_id)

    async def delete(self, tenant: str, picture_id: str) -> None:
        path = self._path(tenant, picture_id)
        with _disk_errors():
            for file in (path, _thumbnail_of(path)):
                await asyncio.to_thread(file.unlink, missing_ok=True)

    async def ids(self, tenant: str) -> set[str]:
        with _disk_errors():
            return await asyncio.to_thread(_ids_in, self._folder / tenant)

    def _path(self, tenant: str, picture_id: str) -> Path:
        return self._folder / picture_path(tenant, picture_id)

    async def _read(self, path: Path, picture_id: str) -> bytes:
        with _disk_errors():
            try:
                return await asyncio.to_thread(path.read_bytes)
            except FileNotFoundError as exc:
                raise NotFound(f"there is no picture {picture_id!r}", field="picture_id") from exc


def picture_path(tenant: str, picture_id: str) -> str:
    """Where a store has a picture.

    Raises:
        NotFound: That can be the id of no picture.
    """
    if not (picture_id.isalnum() and picture_id.isascii()):  # it becomes a path, and may come from a caller
        raise NotFound("there is no such picture", field="picture_id")
    return f"{tenant}/{picture_id[:2]}/{picture_id}"


@contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(f"the folder of pictures fails: {error.strerror or error}") from error


def _thumbnail_of(path: Path) -> Path:
    return path.with_name(path.name + THUMBNAIL)


def _ids_in(folder: Path) -> set[str]:
    return {file.name.removesuffix(THUMBNAIL) for file in folder.glob("??/[!.]*")}
