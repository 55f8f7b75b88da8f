"""Every exception of pymilvus and every status of gRPC becomes an error of ours."""

import inspect

import grpc
import pytest
from pymilvus import exceptions as milvus
from pymilvus.grpc_gen import common_pb2

from router.errors import ConfigurationError, Conflict, DeadlineExceeded, InternalError, InvalidInput, RouterError, StoreUnavailable
from router.stores.milvus.errors import BUGS, BY_CLASS, BY_STATUS, is_not_loaded, router_error

CLASSES = [
    cls
    for _, cls in inspect.getmembers(milvus, inspect.isclass)
    if issubclass(cls, milvus.MilvusException) and cls is not milvus.MilvusException
]
INTERNAL_STATUS = {
    grpc.StatusCode.OK,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.DATA_LOSS,
    grpc.StatusCode.OUT_OF_RANGE,
}


class Failed(grpc.RpcError, grpc.Call):
    """An error as a channel raises it."""

    def __init__(self, status):
        self._status = status

    def code(self):
        return self._status

    def details(self):
        return "details"

    initial_metadata = trailing_metadata = is_active = time_remaining = cancel = add_callback = None


@pytest.mark.parametrize("cls", CLASSES)
def test_every_class_is_mapped_or_listed_as_a_bug(cls):
    assert (cls in BY_CLASS) != (cls in BUGS), f"{cls.__name__}: say in router/stores/milvus/errors.py what it means"
    assert type(router_error(cls(message="why"))) is BY_CLASS.get(cls, InternalError)


def test_the_reflection_sees_the_classes():
    assert len(CLASSES) > 20


@pytest.mark.parametrize("status", grpc.StatusCode)
def test_every_status_is_mapped_or_internal(status):
    assert (status in BY_STATUS) != (status in INTERNAL_STATUS)
    expected = BY_STATUS.get(status, InternalError)
    assert type(router_error(Failed(status))) is expected
    assert type(router_error(milvus.MilvusException(code=status, message="after retries"))) is expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (milvus.MilvusException(code=2, message="connect"), StoreUnavailable),
        (milvus.MilvusException(code=503, message="channel not available"), StoreUnavailable),
        (milvus.MilvusException(code=101, message="not loaded"), StoreUnavailable),
        (milvus.MilvusException(code=65535, message="busy", retriable=True), StoreUnavailable),
        (milvus.MilvusException(code=100, message="collection not found"), Conflict),
        (milvus.MilvusException(code=1400, message="who are you"), ConfigurationError),
        (milvus.MilvusException(code=1100, message="bad parameter"), InvalidInput),
        (milvus.MilvusException(code=65535, message="bad", is_input_error=True), InvalidInput),
        (milvus.MilvusException(code=6, message="Lite says so", compatible_code=common_pb2.IllegalArgument), InvalidInput),
        (milvus.MilvusException(code=65535, message="?"), InternalError),
        (grpc.FutureTimeoutError(), DeadlineExceeded),
        (ValueError("?"), InternalError),
    ],
    ids=str,
)
def test_codes(error, expected):
    mapped = router_error(error)
    assert type(mapped) is expected
    assert isinstance(mapped, RouterError)
    assert mapped.message.startswith("Milvus: ")


def test_not_loaded_is_recognised():
    assert is_not_loaded(milvus.MilvusException(code=101))
    assert not is_not_loaded(milvus.MilvusException(code=100))
