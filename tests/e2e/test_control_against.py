"""`hotctl limits set --dry-run --against DAY` on a whole recorded run: the orders that would be decided otherwise."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ffi import lib
from hotctl.client import mutation
from hotctl.errors import UsageError
from hotctl.profiles import listening_path
from hotctl.v1 import limits_pb2, mutation_pb2
from hotpath.journal import Journal, journal_root
from hotpath.limits.desk import LimitsDesk
from tests.support.engines import until
from tests.support.held import held_config, held_engine, host_client


def test_the_orders_of_a_recorded_run_that_a_limit_would_have_refused_are_named(tmp_path: Path) -> None:
    config = held_config(f"t{os.getpid()}-past", tmp_path)
    with held_engine(config, tmp_path, "--arm") as engine:
        until(lambda: engine.count("gateway", "new_orders") >= 30, "orders")
        desk = LimitsDesk(engine.name, state_dir=tmp_path)
        desk.change(desk.version, lambda copy: copy.set("firm.open_orders_max", 400), who="alice", why="test")
        orders = engine.count("gateway", "new_orders")
        until(lambda: engine.count("gateway", "new_orders") > orders + 5, "orders under the second version")
    (folder,) = journal_root(config).glob("*")
    journal = Journal(folder)
    sent = journal.events("cmd")
    symbols = [bytes(each).rstrip(b"\0").decode() for each in journal.instruments["symbol"].tolist()]
    news = sent[sent["header"]["type"] == lib.CMD_NEW]
    symbol = symbols[int(news["header"]["instrument"][0])]

    listening_path(tmp_path, config.engine.name).unlink()  # of the first run's control process
    with held_engine(config, tmp_path) as engine, host_client(engine, timeout_s=120) as call:

        def against(*settings: tuple[str, str], day: str = folder.name) -> limits_pb2.SetLimitsResponse:
            request = limits_pb2.SetLimitsRequest(
                mutation=mutation(reason="what if", dry_run=True),
                based_on_version=call.call("LimitsService/ListLimits").version,
                settings=[limits_pb2.LimitSetting(name=name, value=value) for name, value in settings],
                against_day=day,
            )
            response: limits_pb2.SetLimitsResponse = call.call("LimitsService/SetLimits", request)
            assert response.receipt.outcome == mutation_pb2.OUTCOME_DRY_RUN
            return response

        before = call.call("LimitsService/ListLimits").version
        told = against((f"instrument.{symbol}.order_quantity_lots_max", "1"))
        described = [each.description for each in told.differences]
        refused = [each for each in described if each.startswith("removed") and symbol in each and "quantity" in each]
        assert refused, described[:5]
        assert "1 versions came into force in that run" in told.receipt.detail
        same = against(("firm.open_orders_max", "499"))
        assert not same.differences
        assert call.call("LimitsService/ListLimits").version == before, "it only looked"
        with pytest.raises(UsageError, match="no recorded run of this engine"):
            against(("firm.open_orders_max", "1"), day="19990101")
