from hotctl.v1 import mutation_pb2 as _mutation_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Scope(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SCOPE_UNSPECIFIED: _ClassVar[Scope]
    SCOPE_ALL: _ClassVar[Scope]
    SCOPE_VENUE: _ClassVar[Scope]
    SCOPE_STRATEGY: _ClassVar[Scope]
    SCOPE_INSTRUMENT: _ClassVar[Scope]
    SCOPE_ACCOUNT: _ClassVar[Scope]

class TradingMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TRADING_MODE_UNSPECIFIED: _ClassVar[TradingMode]
    TRADING_MODE_NORMAL: _ClassVar[TradingMode]
    TRADING_MODE_REDUCE_ONLY: _ClassVar[TradingMode]
    TRADING_MODE_CANCEL_ONLY: _ClassVar[TradingMode]
    TRADING_MODE_HALTED: _ClassVar[TradingMode]
SCOPE_UNSPECIFIED: Scope
SCOPE_ALL: Scope
SCOPE_VENUE: Scope
SCOPE_STRATEGY: Scope
SCOPE_INSTRUMENT: Scope
SCOPE_ACCOUNT: Scope
TRADING_MODE_UNSPECIFIED: TradingMode
TRADING_MODE_NORMAL: TradingMode
TRADING_MODE_REDUCE_ONLY: TradingMode
TRADING_MODE_CANCEL_ONLY: TradingMode
TRADING_MODE_HALTED: TradingMode

class KillRequest(_message.Message):
    __slots__ = ("mutation", "scope", "scope_name", "wait_ms")
    MUTATION_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    SCOPE_NAME_FIELD_NUMBER: _ClassVar[int]
    WAIT_MS_FIELD_NUMBER: _ClassVar[int]
    mutation: _mutation_pb2.Mutation
    scope: Scope
    scope_name: str
    wait_ms: int
    def __init__(self, mutation: _Optional[_Union[_mutation_pb2.Mutation, _Mapping]] = ..., scope: _Optional[_Union[Scope, str]] = ..., scope_name: _Optional[str] = ..., wait_ms: _Optional[int] = ...) -> None: ...

class KillResponse(_message.Message):
    __slots__ = ("receipt", "kill_epoch", "latched_ns", "latched_on_disk", "effective", "effective_ns", "open_orders", "bytes_in_flight")
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    KILL_EPOCH_FIELD_NUMBER: _ClassVar[int]
    LATCHED_NS_FIELD_NUMBER: _ClassVar[int]
    LATCHED_ON_DISK_FIELD_NUMBER: _ClassVar[int]
    EFFECTIVE_FIELD_NUMBER: _ClassVar[int]
    EFFECTIVE_NS_FIELD_NUMBER: _ClassVar[int]
    OPEN_ORDERS_FIELD_NUMBER: _ClassVar[int]
    BYTES_IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    receipt: _mutation_pb2.Receipt
    kill_epoch: int
    latched_ns: int
    latched_on_disk: bool
    effective: bool
    effective_ns: int
    open_orders: int
    bytes_in_flight: int
    def __init__(self, receipt: _Optional[_Union[_mutation_pb2.Receipt, _Mapping]] = ..., kill_epoch: _Optional[int] = ..., latched_ns: _Optional[int] = ..., latched_on_disk: _Optional[bool] = ..., effective: _Optional[bool] = ..., effective_ns: _Optional[int] = ..., open_orders: _Optional[int] = ..., bytes_in_flight: _Optional[int] = ...) -> None: ...

class ArmRequest(_message.Message):
    __slots__ = ("mutation", "kill_epoch", "scope", "scope_name")
    MUTATION_FIELD_NUMBER: _ClassVar[int]
    KILL_EPOCH_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    SCOPE_NAME_FIELD_NUMBER: _ClassVar[int]
    mutation: _mutation_pb2.Mutation
    kill_epoch: int
    scope: Scope
    scope_name: str
    def __init__(self, mutation: _Optional[_Union[_mutation_pb2.Mutation, _Mapping]] = ..., kill_epoch: _Optional[int] = ..., scope: _Optional[_Union[Scope, str]] = ..., scope_name: _Optional[str] = ...) -> None: ...

class ArmResponse(_message.Message):
    __slots__ = ("receipt",)
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    receipt: _mutation_pb2.Receipt
    def __init__(self, receipt: _Optional[_Union[_mutation_pb2.Receipt, _Mapping]] = ...) -> None: ...

class DisarmRequest(_message.Message):
    __slots__ = ("mutation",)
    MUTATION_FIELD_NUMBER: _ClassVar[int]
    mutation: _mutation_pb2.Mutation
    def __init__(self, mutation: _Optional[_Union[_mutation_pb2.Mutation, _Mapping]] = ...) -> None: ...

class DisarmResponse(_message.Message):
    __slots__ = ("receipt",)
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    receipt: _mutation_pb2.Receipt
    def __init__(self, receipt: _Optional[_Union[_mutation_pb2.Receipt, _Mapping]] = ...) -> None: ...

class SetModeRequest(_message.Message):
    __slots__ = ("mutation", "mode")
    MUTATION_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    mutation: _mutation_pb2.Mutation
    mode: TradingMode
    def __init__(self, mutation: _Optional[_Union[_mutation_pb2.Mutation, _Mapping]] = ..., mode: _Optional[_Union[TradingMode, str]] = ...) -> None: ...

class SetModeResponse(_message.Message):
    __slots__ = ("receipt",)
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    receipt: _mutation_pb2.Receipt
    def __init__(self, receipt: _Optional[_Union[_mutation_pb2.Receipt, _Mapping]] = ...) -> None: ...

class Cause(_message.Message):
    __slots__ = ("name", "mode", "latched", "cleared_by")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    LATCHED_FIELD_NUMBER: _ClassVar[int]
    CLEARED_BY_FIELD_NUMBER: _ClassVar[int]
    name: str
    mode: TradingMode
    latched: bool
    cleared_by: str
    def __init__(self, name: _Optional[str] = ..., mode: _Optional[_Union[TradingMode, str]] = ..., latched: _Optional[bool] = ..., cleared_by: _Optional[str] = ...) -> None: ...

class ListCausesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListCausesResponse(_message.Message):
    __slots__ = ("causes", "mode", "killed", "kill_epoch", "kill_reason", "kill_since")
    CAUSES_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    KILLED_FIELD_NUMBER: _ClassVar[int]
    KILL_EPOCH_FIELD_NUMBER: _ClassVar[int]
    KILL_REASON_FIELD_NUMBER: _ClassVar[int]
    KILL_SINCE_FIELD_NUMBER: _ClassVar[int]
    causes: _containers.RepeatedCompositeFieldContainer[Cause]
    mode: TradingMode
    killed: bool
    kill_epoch: int
    kill_reason: str
    kill_since: str
    def __init__(self, causes: _Optional[_Iterable[_Union[Cause, _Mapping]]] = ..., mode: _Optional[_Union[TradingMode, str]] = ..., killed: _Optional[bool] = ..., kill_epoch: _Optional[int] = ..., kill_reason: _Optional[str] = ..., kill_since: _Optional[str] = ...) -> None: ...

class ListPreconditionsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListPreconditionsResponse(_message.Message):
    __slots__ = ("preconditions",)
    PRECONDITIONS_FIELD_NUMBER: _ClassVar[int]
    preconditions: _containers.RepeatedCompositeFieldContainer[_mutation_pb2.Precondition]
    def __init__(self, preconditions: _Optional[_Iterable[_Union[_mutation_pb2.Precondition, _Mapping]]] = ...) -> None: ...
