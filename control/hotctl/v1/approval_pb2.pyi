from hotctl.v1 import mutation_pb2 as _mutation_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Approval(_message.Message):
    __slots__ = ("request_id", "identity", "method", "reason", "changes", "requested_time_ns", "expires_time_ns")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    identity: str
    method: str
    reason: str
    changes: _containers.RepeatedCompositeFieldContainer[_mutation_pb2.Change]
    requested_time_ns: int
    expires_time_ns: int
    def __init__(self, request_id: _Optional[str] = ..., identity: _Optional[str] = ..., method: _Optional[str] = ..., reason: _Optional[str] = ..., changes: _Optional[_Iterable[_Union[_mutation_pb2.Change, _Mapping]]] = ..., requested_time_ns: _Optional[int] = ..., expires_time_ns: _Optional[int] = ...) -> None: ...

class ListApprovalsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListApprovalsResponse(_message.Message):
    __slots__ = ("approvals",)
    APPROVALS_FIELD_NUMBER: _ClassVar[int]
    approvals: _containers.RepeatedCompositeFieldContainer[Approval]
    def __init__(self, approvals: _Optional[_Iterable[_Union[Approval, _Mapping]]] = ...) -> None: ...

class ApproveRequest(_message.Message):
    __slots__ = ("mutation", "pending_request_id")
    MUTATION_FIELD_NUMBER: _ClassVar[int]
    PENDING_REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    mutation: _mutation_pb2.Mutation
    pending_request_id: str
    def __init__(self, mutation: _Optional[_Union[_mutation_pb2.Mutation, _Mapping]] = ..., pending_request_id: _Optional[str] = ...) -> None: ...

class ApproveResponse(_message.Message):
    __slots__ = ("receipt",)
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    receipt: _mutation_pb2.Receipt
    def __init__(self, receipt: _Optional[_Union[_mutation_pb2.Receipt, _Mapping]] = ...) -> None: ...

class WithdrawRequest(_message.Message):
    __slots__ = ("mutation", "pending_request_id")
    MUTATION_FIELD_NUMBER: _ClassVar[int]
    PENDING_REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    mutation: _mutation_pb2.Mutation
    pending_request_id: str
    def __init__(self, mutation: _Optional[_Union[_mutation_pb2.Mutation, _Mapping]] = ..., pending_request_id: _Optional[str] = ...) -> None: ...

class WithdrawResponse(_message.Message):
    __slots__ = ("receipt",)
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    receipt: _mutation_pb2.Receipt
    def __init__(self, receipt: _Optional[_Union[_mutation_pb2.Receipt, _Mapping]] = ...) -> None: ...
