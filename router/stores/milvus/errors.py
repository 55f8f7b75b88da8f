"""The inward error map: whatever pymilvus or gRPC raises becomes an error of ours."""

from __future__ import annotations

import grpc
from pymilvus import exceptions as milvus
from pymilvus.grpc_gen import common_pb2

from router.errors import ConfigurationError, Conflict, DeadlineExceeded, InternalError, InvalidInput, RouterError, StoreUnavailable

Kind = type[RouterError]

BY_CLASS: dict[type[milvus.MilvusException], Kind] = {
    milvus.ConnectError: StoreUnavailable,
    milvus.MilvusUnavailableException: StoreUnavailable,
    milvus.ConnectionNotExistException: StoreUnavailable,
    milvus.ConnectionConfigException: ConfigurationError,
    milvus.ServerVersionIncompatibleException: ConfigurationError,
    milvus.CollectionNotExistException: Conflict,
    milvus.IndexNotExistException: Conflict,
    milvus.SchemaMismatchRetryableException: Conflict,
    milvus.DataNotMatchException: Conflict,
}
"""Classes whose meaning does not depend on the code that the server sent."""

BUGS: frozenset[type[milvus.MilvusException]] = frozenset(
    {
        milvus.ParamError,
        milvus.DescribeCollectionException,
        milvus.PartitionAlreadyExistException,
        milvus.AmbiguousIndexName,
        milvus.CannotInferSchemaException,
        milvus.SchemaNotReadyException,
        milvus.DataTypeNotMatchException,
        milvus.DataTypeNotSupportException,
        milvus.PrimaryKeyException,
        milvus.PartitionKeyException,
        milvus.ClusteringKeyException,
        milvus.FieldsTypeException,
        milvus.FunctionsTypeException,
        milvus.FieldTypeException,
        milvus.AutoIDException,
        milvus.InvalidConsistencyLevel,
    }
)
"""Classes that only a wrong call of ours can cause."""

BY_STATUS: dict[grpc.StatusCode, Kind] = {
    grpc.StatusCode.UNAVAILABLE: StoreUnavailable,
    grpc.StatusCode.CANCELLED: StoreUnavailable,  # our channel was closed under the call
    grpc.StatusCode.ABORTED: StoreUnavailable,
    grpc.StatusCode.RESOURCE_EXHAUSTED: StoreUnavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.UNAUTHENTICATED: ConfigurationError,
    grpc.StatusCode.PERMISSION_DENIED: ConfigurationError,
    grpc.StatusCode.UNIMPLEMENTED: ConfigurationError,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidInput,
    grpc.StatusCode.NOT_FOUND: Conflict,
    grpc.StatusCode.ALREADY_EXISTS: Conflict,
    grpc.StatusCode.FAILED_PRECONDITION: Conflict,
}
"""The rest (UNKNOWN, INTERNAL, DATA_LOSS, OUT_OF_RANGE, OK) is an InternalError."""

# Codes of Milvus 2.3 and newer (pkg/util/merr/errors.go): 1-12 service, 100s collections, 500s channels, 900s nodes, 1100s
# parameters, 1400s credentials. 1 is also what everything without a code of its own is sent as, so it says nothing.
_UNAVAILABLE = {2, 3, 4, 7, 8, 9, 11, 12, 101, 103, 400, 401, 500, 501, 502, 503, 504, 901, 902, 1003}
_CONFLICT = {100, 102, 700, 800}
_INVALID = {1100, 1101}
_CREDENTIALS = {1400, 1401}

NOT_LOADED = 101


def router_error(error: Exception) -> RouterError:
    """The error of ours for an error of pymilvus or gRPC. Its message keeps theirs, which names the call and the server's reason."""
    return _kind(error)(f"Milvus: {_message(error)}")


def is_not_loaded(error: milvus.MilvusException) -> bool:
    """A collection that a restarted server has not loaded again."""
    return bool(error.code == NOT_LOADED)


def _kind(error: Exception) -> Kind:
    if isinstance(error, grpc.FutureTimeoutError):
        return DeadlineExceeded
    if isinstance(error, grpc.RpcError):
        return BY_STATUS.get(error.code(), InternalError) if isinstance(error, grpc.Call) else InternalError
    if not isinstance(error, milvus.MilvusException):
        return InternalError
    if isinstance(error.code, grpc.StatusCode):  # what pymilvus makes of a gRPC error after its retries
        return BY_STATUS.get(error.code, InternalError)
    for cls, kind in BY_CLASS.items():
        if isinstance(error, cls):
            return kind
    return InternalError if type(error) in BUGS else _by_code(error)


def _by_code(error: milvus.MilvusException) -> Kind:
    code = int(error.code)
    if code in _UNAVAILABLE or error.retriable:
        return StoreUnavailable
    if code in _CONFLICT:
        return Conflict
    if code in _CREDENTIALS:
        return ConfigurationError
    if code in _INVALID or error.is_input_error or error.compatible_code == common_pb2.IllegalArgument:
        return InvalidInput
    return InternalError


def _message(error: Exception) -> str:
    if isinstance(error, milvus.MilvusException):
        return str(error.message) or type(error).__name__
    if isinstance(error, grpc.Call):
        return f"{error.code().name}: {error.details()}"
    return str(error) or type(error).__name__
