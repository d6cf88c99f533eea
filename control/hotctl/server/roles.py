"""Who may call what: one table from method to the least role, and nothing that does not stand in it.

viewer < operator < risk_officer < admin
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Role(IntEnum):
    """What an identity may do; each may do what those before it may."""

    VIEWER = 1
    OPERATOR = 2
    RISK_OFFICER = 3
    ADMIN = 4

    @property
    def word(self) -> str:
        """As configurations and certificates say it."""
        return self.name.lower()

    @classmethod
    def of(cls, word: str) -> Role | None:
        """The role of that word; None when there is none."""
        return cls.__members__.get(word.upper())


@dataclass(frozen=True)
class Caller:
    """Somebody at the door."""

    identity: str  # "unix:alice" or "cert:alice"
    role: Role | None  # None: known, and allowed nothing
    issued_time_s: float = 0.0  # of the certificate, since 1970
    expires_time_s: float = 0.0
    serial: int = 0  # of the certificate
    peer: str = ""  # where from, for the audit log

    @property
    def word(self) -> str:
        """The role's word; empty when there is none."""
        return self.role.word if self.role else ""

    @property
    def person(self) -> str:
        """Alice at the host and Alice with a certificate are one person, who cannot approve what she asked for."""
        return self.identity.partition(":")[2]


VIEWER, OPERATOR, RISK_OFFICER = Role.VIEWER, Role.OPERATOR, Role.RISK_OFFICER

LEAST_ROLE = {
    "EngineService/GetEngine": VIEWER,
    "EngineService/Drain": OPERATOR,
    "TradingService/Kill": OPERATOR,
    "TradingService/Arm": OPERATOR,
    "TradingService/Disarm": OPERATOR,
    "TradingService/SetMode": OPERATOR,
    "TradingService/ListCauses": VIEWER,
    "TradingService/ListPreconditions": VIEWER,
    "LimitsService/ListLimits": VIEWER,
    "LimitsService/SetLimits": OPERATOR,
    "LimitsService/ListLimitVersions": VIEWER,
    "LimitsService/RevertLimits": OPERATOR,
    "LimitsService/ListOverrides": VIEWER,
    "LimitsService/GrantOverride": OPERATOR,
    "LimitsService/WithdrawOverride": OPERATOR,
    "ApprovalService/ListApprovals": VIEWER,
    "ApprovalService/Approve": RISK_OFFICER,
    "ApprovalService/Withdraw": OPERATOR,
    "OrderService/ListOrders": VIEWER,
    "OrderService/ListPositions": VIEWER,
    "OrderService/Flatten": OPERATOR,
    "OrderService/ExplainOrder": VIEWER,
    "OrderService/RecordAdjustment": RISK_OFFICER,
    "StrategyService/ListStrategies": VIEWER,
    "StrategyService/PauseStrategy": OPERATOR,
    "StrategyService/ResumeStrategy": OPERATOR,
    "StrategyService/RetireStrategy": OPERATOR,
    "StrategyService/SetStrategy": OPERATOR,
    "ModelService/ListModels": VIEWER,
    "AuditService/ListAuditRecords": VIEWER,
    "AuditService/VerifyAudit": VIEWER,
    "AuditService/ExportAudit": RISK_OFFICER,
    "WatchService/GetSnapshot": VIEWER,
    "WatchService/WatchSnapshots": VIEWER,
    "IngestService/IngestEvent": OPERATOR,
    # Of gRPC's own: whether somebody serves, and what.
    "/grpc.health.v1.Health/Check": VIEWER,
    "/grpc.health.v1.Health/Watch": VIEWER,
    "/grpc.health.v1.Health/List": VIEWER,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": VIEWER,
}
