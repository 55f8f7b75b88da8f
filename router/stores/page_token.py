"""Page tokens: where the next page of one list begins. Opaque to callers; a token of another tenant or list is refused."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json

from router.errors import InvalidInput


def make_page_token(tenant: str, collection: str, name: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([_list_identity(tenant, collection), name]).encode()).decode()


def name_of_page_token(token: str, tenant: str, collection: str) -> str:
    try:
        identity, name = json.loads(base64.urlsafe_b64decode(token.encode()))
    except (binascii.Error, ValueError, TypeError) as error:
        raise InvalidInput("the page token is not one of ours: leave it empty to start at the first page", field="page_token") from error
    if identity != _list_identity(tenant, collection) or not isinstance(name, str):
        raise InvalidInput("the page token belongs to another list: leave it empty to start at the first page", field="page_token")
    return name


def _list_identity(tenant: str, collection: str) -> str:
    return hashlib.sha256(json.dumps([tenant, collection]).encode()).hexdigest()[:16]
