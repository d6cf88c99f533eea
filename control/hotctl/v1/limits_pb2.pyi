from hotctl.v1 import mutation_pb2 as _mutation_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Limit(_message.Message):
    __slots__ = ("name", "value", "unit", "meaning")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    MEANING_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: str
    unit: str
    meaning: str
    def __init__(self, name: _Optional[str] = ..., value: _Optional[str] = ..., unit: _Optional[str] = ..., meaning: _Optional[str] = ...) -> None: ...

class ListLimitsRequest(_message.Message):
    __slots__ = ("prefix",)
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    def __init__(self, prefix: _Optional[str] = ...) -> None: ...

class ListLimitsResponse(_message.Message):
    __slots__ = ("version", "limits")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    version: int
    limits: _containers.RepeatedCompositeFieldContainer[Limit]
    def __init__(self, version: _Optional[int] = ..., limits: _Optional[_Iterable[_Union[Limit, _Mapping]]] = ...) -> None: ...

class LimitSetting(_message.Message):
    __slots__ = ("name", "value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: str
    def __init__(self, name: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...

class SetLimitsRequest(_message.Message):
    __slots__ = ("mutation", "based_on_version", "settings", "revert_after_s", "against_day")
    MUTATION_FIELD_NUMBER: _ClassVar[int]
    BASED_ON_VERSION_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    REVERT_AFTER_S_FIELD_NUMBER: _ClassVar[int]
    AGAINST_DAY_FIELD_NUMBER: _ClassVar[int]
    mutation: _mutation_pb2.Mutation
    based_on_version: int
    settings: _containers.RepeatedCompositeFieldContainer[LimitSetting]
    revert_after_s: int
    against_day: str
    def __init__(self, mutation: _Optional[_Union[_mutation_pb2.Mutation, _Mapping]] = ..., based_on_version: _Optional[int] = ..., settings: _Optional[_Iterable[_Union[LimitSetting, _Mapping]]] = ..., revert_after_s: _Optional[int] = ..., against_day: _Optional[str] = ...) -> None: ...

class DifferentDecision(_message.Message):
    __slots__ = ("description",)
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    description: str
    def __init__(self, description: _Optional[str] = ...) -> None: ...

class SetLimitsResponse(_message.Message):
    __slots__ = ("receipt", "version", "differences")
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCES_FIELD_NUMBER: _ClassVar[int]
    receipt: _mutation_pb2.Receipt
    version: int
    differences: _containers.RepeatedCompositeFieldContainer[DifferentDecision]
    def __init__(self, receipt: _Optional[_Union[_mutation_pb2.Receipt, _Mapping]] = ..., version: _Optional[int] = ..., differences: _Optional[_Iterable[_Union[DifferentDecision, _Mapping]]] = ...) -> None: ...

class LimitVersion(_message.Message):
    __slots__ = ("version", "time_ns", "who", "why", "changes")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    TIME_NS_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    version: int
    time_ns: int
    who: str
    why: str
    changes: _containers.RepeatedCompositeFieldContainer[_mutation_pb2.Change]
    def __init__(self, version: _Optional[int] = ..., time_ns: _Optional[int] = ..., who: _Optional[str] = ..., why: _Optional[str] = ..., changes: _Optional[_Iterable[_Union[_mutation_pb2.Change, _Mapping]]] = ...) -> None: ...

class ListLimitVersionsRequest(_message.Message):
    __slots__ = ("count_max",)
    COUNT_MAX_FIELD_NUMBER: _ClassVar[int]
    count_max: int
    def __init__(self, count_max: _Optional[int] = ...) -> None: ...

class ListLimitVersionsResponse(_message.Message):
    __slots__ = ("versions",)
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    versions: _containers.RepeatedCompositeFieldContainer[LimitVersion]
    def __init__(self, versions: _Optional[_Iterable[_Union[LimitVersion, _Mapping]]] = ...) -> None: ...

class RevertLimitsRequest(_message.Message):
    __slots__ = ("mutation", "based_on_version", "to_version")
    MUTATION_FIELD_NUMBER: _ClassVar[int]
    BASED_ON_VERSION_FIELD_NUMBER: _ClassVar[int]
    TO_VERSION_FIELD_NUMBER: _ClassVar[int]
    mutation: _mutation_pb2.Mutation
    based_on_version: int
    to_version: int
    def __init__(self, mutation: _Optional[_Union[_mutation_pb2.Mutation, _Mapping]] = ..., based_on_version: _Optional[int] = ..., to_version: _Optional[int] = ...) -> None: ...

class RevertLimitsResponse(_message.Message):
    __slots__ = ("receipt", "version")
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    receipt: _mutation_pb2.Receipt
    version: int
    def __init__(self, receipt: _Optional[_Union[_mutation_pb2.Receipt, _Mapping]] = ..., version: _Optional[int] = ...) -> None: ...

class Override(_message.Message):
    __slots__ = ("id", "reasons", "who", "expires_time_ns", "quantity_lots_max", "order_value_micros_max", "symbol", "account", "strategy", "side")
    ID_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_TIME_NS_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_LOTS_MAX_FIELD_NUMBER: _ClassVar[int]
    ORDER_VALUE_MICROS_MAX_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    id: int
    reasons: _containers.RepeatedScalarFieldContainer[str]
    who: str
    expires_time_ns: int
    quantity_lots_max: int
    order_value_micros_max: int
    symbol: str
    account: int
    strategy: int
    side: str
    def __init__(self, id: _Optional[int] = ..., reasons: _Optional[_Iterable[str]] = ..., who: _Optional[str] = ..., expires_time_ns: _Optional[int] = ..., quantity_lots_max: _Optional[int] = ..., order_value_micros_max: _Optional[int] = ..., symbol: _Optional[str] = ..., account: _Optional[int] = ..., strategy: _Optional[int] = ..., side: _Optional[str] = ...) -> None: ...

class ListOverridesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListOverridesResponse(_message.Message):
    __slots__ = ("overrides",)
    OVERRIDES_FIELD_NUMBER: _ClassVar[int]
    overrides: _containers.RepeatedCompositeFieldContainer[Override]
    def __init__(self, overrides: _Optional[_Iterable[_Union[Override, _Mapping]]] = ...) -> None: ...

class GrantOverrideRequest(_message.Message):
    __slots__ = ("mutation", "override", "expires_after_s")
    MUTATION_FIELD_NUMBER: _ClassVar[int]
    OVERRIDE_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AFTER_S_FIELD_NUMBER: _ClassVar[int]
    mutation: _mutation_pb2.Mutation
    override: Override
    expires_after_s: int
    def __init__(self, mutation: _Optional[_Union[_mutation_pb2.Mutation, _Mapping]] = ..., override: _Optional[_Union[Override, _Mapping]] = ..., expires_after_s: _Optional[int] = ...) -> None: ...

class GrantOverrideResponse(_message.Message):
    __slots__ = ("receipt", "id")
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    receipt: _mutation_pb2.Receipt
    id: int
    def __init__(self, receipt: _Optional[_Union[_mutation_pb2.Receipt, _Mapping]] = ..., id: _Optional[int] = ...) -> None: ...

class WithdrawOverrideRequest(_message.Message):
    __slots__ = ("mutation", "id")
    MUTATION_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    mutation: _mutation_pb2.Mutation
    id: int
    def __init__(self, mutation: _Optional[_Union[_mutation_pb2.Mutation, _Mapping]] = ..., id: _Optional[int] = ...) -> None: ...

class WithdrawOverrideResponse(_message.Message):
    __slots__ = ("receipt",)
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    receipt: _mutation_pb2.Receipt
    def __init__(self, receipt: _Optional[_Union[_mutation_pb2.Receipt, _Mapping]] = ...) -> None: ...
