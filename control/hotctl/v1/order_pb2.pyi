from hotctl.v1 import mutation_pb2 as _mutation_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Order(_message.Message):
    __slots__ = ("order_id", "symbol", "side", "open_lots", "price_ticks", "state", "strategy", "account")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    OPEN_LOTS_FIELD_NUMBER: _ClassVar[int]
    PRICE_TICKS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    order_id: int
    symbol: str
    side: str
    open_lots: int
    price_ticks: int
    state: str
    strategy: int
    account: int
    def __init__(self, order_id: _Optional[int] = ..., symbol: _Optional[str] = ..., side: _Optional[str] = ..., open_lots: _Optional[int] = ..., price_ticks: _Optional[int] = ..., state: _Optional[str] = ..., strategy: _Optional[int] = ..., account: _Optional[int] = ...) -> None: ...

class ListOrdersRequest(_message.Message):
    __slots__ = ("symbol",)
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    def __init__(self, symbol: _Optional[str] = ...) -> None: ...

class ListOrdersResponse(_message.Message):
    __slots__ = ("orders", "open_orders")
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    OPEN_ORDERS_FIELD_NUMBER: _ClassVar[int]
    orders: _containers.RepeatedCompositeFieldContainer[Order]
    open_orders: int
    def __init__(self, orders: _Optional[_Iterable[_Union[Order, _Mapping]]] = ..., open_orders: _Optional[int] = ...) -> None: ...

class Position(_message.Message):
    __slots__ = ("symbol", "lots", "cost_micros", "realised_micros", "fees_micros", "traded_lots")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    LOTS_FIELD_NUMBER: _ClassVar[int]
    COST_MICROS_FIELD_NUMBER: _ClassVar[int]
    REALISED_MICROS_FIELD_NUMBER: _ClassVar[int]
    FEES_MICROS_FIELD_NUMBER: _ClassVar[int]
    TRADED_LOTS_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    lots: int
    cost_micros: int
    realised_micros: int
    fees_micros: int
    traded_lots: int
    def __init__(self, symbol: _Optional[str] = ..., lots: _Optional[int] = ..., cost_micros: _Optional[int] = ..., realised_micros: _Optional[int] = ..., fees_micros: _Optional[int] = ..., traded_lots: _Optional[int] = ...) -> None: ...

class ListPositionsRequest(_message.Message):
    __slots__ = ("flat_too",)
    FLAT_TOO_FIELD_NUMBER: _ClassVar[int]
    flat_too: bool
    def __init__(self, flat_too: _Optional[bool] = ...) -> None: ...

class ListPositionsResponse(_message.Message):
    __slots__ = ("positions",)
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    positions: _containers.RepeatedCompositeFieldContainer[Position]
    def __init__(self, positions: _Optional[_Iterable[_Union[Position, _Mapping]]] = ...) -> None: ...

class FlattenRequest(_message.Message):
    __slots__ = ("mutation", "symbol", "timeout_ms", "slice_lots_max")
    MUTATION_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    SLICE_LOTS_MAX_FIELD_NUMBER: _ClassVar[int]
    mutation: _mutation_pb2.Mutation
    symbol: str
    timeout_ms: int
    slice_lots_max: int
    def __init__(self, mutation: _Optional[_Union[_mutation_pb2.Mutation, _Mapping]] = ..., symbol: _Optional[str] = ..., timeout_ms: _Optional[int] = ..., slice_lots_max: _Optional[int] = ...) -> None: ...

class FlattenOrder(_message.Message):
    __slots__ = ("symbol", "side", "quantity_lots", "price_ticks", "filled_lots", "result")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_LOTS_FIELD_NUMBER: _ClassVar[int]
    PRICE_TICKS_FIELD_NUMBER: _ClassVar[int]
    FILLED_LOTS_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    side: str
    quantity_lots: int
    price_ticks: int
    filled_lots: int
    result: str
    def __init__(self, symbol: _Optional[str] = ..., side: _Optional[str] = ..., quantity_lots: _Optional[int] = ..., price_ticks: _Optional[int] = ..., filled_lots: _Optional[int] = ..., result: _Optional[str] = ...) -> None: ...

class FlattenResponse(_message.Message):
    __slots__ = ("receipt", "orders", "left")
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    LEFT_FIELD_NUMBER: _ClassVar[int]
    receipt: _mutation_pb2.Receipt
    orders: _containers.RepeatedCompositeFieldContainer[FlattenOrder]
    left: _containers.RepeatedCompositeFieldContainer[Position]
    def __init__(self, receipt: _Optional[_Union[_mutation_pb2.Receipt, _Mapping]] = ..., orders: _Optional[_Iterable[_Union[FlattenOrder, _Mapping]]] = ..., left: _Optional[_Iterable[_Union[Position, _Mapping]]] = ...) -> None: ...

class ExplainOrderRequest(_message.Message):
    __slots__ = ("order_id",)
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    order_id: int
    def __init__(self, order_id: _Optional[int] = ...) -> None: ...

class ExplainOrderResponse(_message.Message):
    __slots__ = ("text", "json")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    JSON_FIELD_NUMBER: _ClassVar[int]
    text: str
    json: str
    def __init__(self, text: _Optional[str] = ..., json: _Optional[str] = ...) -> None: ...

class RecordAdjustmentRequest(_message.Message):
    __slots__ = ("mutation", "symbol", "quantity_lots", "price_ticks", "kind")
    MUTATION_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_LOTS_FIELD_NUMBER: _ClassVar[int]
    PRICE_TICKS_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    mutation: _mutation_pb2.Mutation
    symbol: str
    quantity_lots: int
    price_ticks: int
    kind: str
    def __init__(self, mutation: _Optional[_Union[_mutation_pb2.Mutation, _Mapping]] = ..., symbol: _Optional[str] = ..., quantity_lots: _Optional[int] = ..., price_ticks: _Optional[int] = ..., kind: _Optional[str] = ...) -> None: ...

class RecordAdjustmentResponse(_message.Message):
    __slots__ = ("receipt",)
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    receipt: _mutation_pb2.Receipt
    def __init__(self, receipt: _Optional[_Union[_mutation_pb2.Receipt, _Mapping]] = ...) -> None: ...
