from hotctl.v1 import mutation_pb2 as _mutation_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetEngineRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetEngineResponse(_message.Message):
    __slots__ = ("engine", "run_epoch", "version", "layout_hash", "single_operator", "identity", "role", "key_age_s", "key_left_s", "approvals_waiting", "limits_version", "audit_sequence", "envelope")
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    RUN_EPOCH_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    LAYOUT_HASH_FIELD_NUMBER: _ClassVar[int]
    SINGLE_OPERATOR_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    KEY_AGE_S_FIELD_NUMBER: _ClassVar[int]
    KEY_LEFT_S_FIELD_NUMBER: _ClassVar[int]
    APPROVALS_WAITING_FIELD_NUMBER: _ClassVar[int]
    LIMITS_VERSION_FIELD_NUMBER: _ClassVar[int]
    AUDIT_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    ENVELOPE_FIELD_NUMBER: _ClassVar[int]
    engine: str
    run_epoch: int
    version: str
    layout_hash: str
    single_operator: bool
    identity: str
    role: str
    key_age_s: int
    key_left_s: int
    approvals_waiting: int
    limits_version: int
    audit_sequence: int
    envelope: str
    def __init__(self, engine: _Optional[str] = ..., run_epoch: _Optional[int] = ..., version: _Optional[str] = ..., layout_hash: _Optional[str] = ..., single_operator: _Optional[bool] = ..., identity: _Optional[str] = ..., role: _Optional[str] = ..., key_age_s: _Optional[int] = ..., key_left_s: _Optional[int] = ..., approvals_waiting: _Optional[int] = ..., limits_version: _Optional[int] = ..., audit_sequence: _Optional[int] = ..., envelope: _Optional[str] = ...) -> None: ...

class DrainRequest(_message.Message):
    __slots__ = ("mutation",)
    MUTATION_FIELD_NUMBER: _ClassVar[int]
    mutation: _mutation_pb2.Mutation
    def __init__(self, mutation: _Optional[_Union[_mutation_pb2.Mutation, _Mapping]] = ...) -> None: ...

class DrainResponse(_message.Message):
    __slots__ = ("receipt",)
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    receipt: _mutation_pb2.Receipt
    def __init__(self, receipt: _Optional[_Union[_mutation_pb2.Receipt, _Mapping]] = ...) -> None: ...
