from hotctl.v1 import mutation_pb2 as _mutation_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Strategy(_message.Message):
    __slots__ = ("number", "name", "state", "open_orders")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    OPEN_ORDERS_FIELD_NUMBER: _ClassVar[int]
    number: int
    name: str
    state: str
    open_orders: int
    def __init__(self, number: _Optional[int] = ..., name: _Optional[str] = ..., state: _Optional[str] = ..., open_orders: _Optional[int] = ...) -> None: ...

class ListStrategiesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListStrategiesResponse(_message.Message):
    __slots__ = ("strategies",)
    STRATEGIES_FIELD_NUMBER: _ClassVar[int]
    strategies: _containers.RepeatedCompositeFieldContainer[Strategy]
    def __init__(self, strategies: _Optional[_Iterable[_Union[Strategy, _Mapping]]] = ...) -> None: ...

class PauseStrategyRequest(_message.Message):
    __slots__ = ("mutation", "strategy")
    MUTATION_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    mutation: _mutation_pb2.Mutation
    strategy: str
    def __init__(self, mutation: _Optional[_Union[_mutation_pb2.Mutation, _Mapping]] = ..., strategy: _Optional[str] = ...) -> None: ...

class PauseStrategyResponse(_message.Message):
    __slots__ = ("receipt",)
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    receipt: _mutation_pb2.Receipt
    def __init__(self, receipt: _Optional[_Union[_mutation_pb2.Receipt, _Mapping]] = ...) -> None: ...

class ResumeStrategyRequest(_message.Message):
    __slots__ = ("mutation", "strategy")
    MUTATION_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    mutation: _mutation_pb2.Mutation
    strategy: str
    def __init__(self, mutation: _Optional[_Union[_mutation_pb2.Mutation, _Mapping]] = ..., strategy: _Optional[str] = ...) -> None: ...

class ResumeStrategyResponse(_message.Message):
    __slots__ = ("receipt",)
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    receipt: _mutation_pb2.Receipt
    def __init__(self, receipt: _Optional[_Union[_mutation_pb2.Receipt, _Mapping]] = ...) -> None: ...

class RetireStrategyRequest(_message.Message):
    __slots__ = ("mutation", "strategy")
    MUTATION_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    mutation: _mutation_pb2.Mutation
    strategy: str
    def __init__(self, mutation: _Optional[_Union[_mutation_pb2.Mutation, _Mapping]] = ..., strategy: _Optional[str] = ...) -> None: ...

class RetireStrategyResponse(_message.Message):
    __slots__ = ("receipt",)
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    receipt: _mutation_pb2.Receipt
    def __init__(self, receipt: _Optional[_Union[_mutation_pb2.Receipt, _Mapping]] = ...) -> None: ...

class SetStrategyRequest(_message.Message):
    __slots__ = ("mutation", "strategy", "name", "value")
    MUTATION_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    mutation: _mutation_pb2.Mutation
    strategy: str
    name: str
    value: str
    def __init__(self, mutation: _Optional[_Union[_mutation_pb2.Mutation, _Mapping]] = ..., strategy: _Optional[str] = ..., name: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...

class SetStrategyResponse(_message.Message):
    __slots__ = ("receipt",)
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    receipt: _mutation_pb2.Receipt
    def __init__(self, receipt: _Optional[_Union[_mutation_pb2.Receipt, _Mapping]] = ...) -> None: ...
