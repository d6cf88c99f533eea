from hotctl.v1 import mutation_pb2 as _mutation_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class IngestEventRequest(_message.Message):
    __slots__ = ("mutation", "kind", "symbol", "origin_time_ns", "payload_json")
    MUTATION_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_JSON_FIELD_NUMBER: _ClassVar[int]
    mutation: _mutation_pb2.Mutation
    kind: str
    symbol: str
    origin_time_ns: int
    payload_json: str
    def __init__(self, mutation: _Optional[_Union[_mutation_pb2.Mutation, _Mapping]] = ..., kind: _Optional[str] = ..., symbol: _Optional[str] = ..., origin_time_ns: _Optional[int] = ..., payload_json: _Optional[str] = ...) -> None: ...

class IngestEventResponse(_message.Message):
    __slots__ = ("receipt", "sequence", "ingress_time_ns")
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    INGRESS_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    receipt: _mutation_pb2.Receipt
    sequence: int
    ingress_time_ns: int
    def __init__(self, receipt: _Optional[_Union[_mutation_pb2.Receipt, _Mapping]] = ..., sequence: _Optional[int] = ..., ingress_time_ns: _Optional[int] = ...) -> None: ...
