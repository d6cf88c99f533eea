"""hotpath/topology.py: who shares a process, and where processes run on a small machine."""

from __future__ import annotations

import itertools

import pytest

from hotpath.config import Config, EngineConfig, RingsConfig
from hotpath.errors import ConfigError
from hotpath.topology import PROCESSES, STAGES, parse_cpu_list, place, preferred_cpus, ring_table


def config(**engine: object) -> Config:
    return Config(engine=EngineConfig(**engine))  # type: ignore[arg-type]


@pytest.mark.parametrize("topology", list(PROCESSES))
def test_every_stage_runs_once_and_in_path_order(topology: str) -> None:
    assert tuple(itertools.chain(*PROCESSES[topology].values())) == STAGES


@pytest.mark.parametrize(("topology", "count"), list(itertools.product(PROCESSES, range(1, 9))))
def test_there_are_never_more_spinners_than_processors_less_one(topology: str, count: int) -> None:
    placement = place(config(topology=topology), cpus=range(count))
    spinning = [each.cpu for each in placement.places if each.wait == "spin"]
    assert len(spinning) <= count - 1
    assert len(spinning) == len(set(spinning))
    assert all(each.cpu in range(count) for each in placement.places)
    assert bool(placement.notes) == (not spinning), "a changed wait strategy is told, an unchanged one is not"


def test_two_processors_share_one_by_yield_and_leave_the_other_free() -> None:
    placement = place(config(topology="split"), cpus=[0, 1])
    assert {(each.cpu, each.wait) for each in placement.places} == {(1, "yield")}
    assert "4 processes and this machine offers 2 processors: all share processor 1" in placement.notes[0]


def test_fused_spins_on_two_processors() -> None:
    placement = place(config(topology="fused"), cpus=[0, 1])
    assert [(each.process, each.cpu, each.wait) for each in placement.places] == [("engine", 1, "spin")]
    assert placement.notes == ()


def test_park_stays_park_when_processors_are_few() -> None:
    placement = place(config(topology="paired", wait="park"), cpus=[0, 1])
    assert {each.wait for each in placement.places} == {"park"}


def test_named_processors_are_kept_and_sharers_yield() -> None:
    placement = place(config(topology="paired", cpus=[3, 3]), cpus=range(8))
    assert {(each.cpu, each.wait) for each in placement.places} == {(3, "yield")}
    assert "yield to each other" in placement.notes[0]
    apart = place(config(topology="paired", cpus=[2, 5]), cpus=range(8))
    assert [(each.cpu, each.wait) for each in apart.places] == [(2, "spin"), (5, "spin")]


def test_one_named_processor_is_for_all() -> None:
    assert {each.cpu for each in place(config(topology="split", cpus=[2]), cpus=range(4)).places} == {2}


@pytest.mark.parametrize(
    ("cpus", "message"), [([9], "processor 9 is not one"), ([1, 2, 3], "3 processors for the 2 processes")]
)
def test_processors_that_do_not_fit_are_refused(cpus: list[int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        place(config(topology="paired", cpus=cpus), cpus=range(4))


def test_the_first_processor_is_the_last_choice() -> None:
    assert preferred_cpus([4, 5, 6])[-1] == 4


def test_cpu_list_of_the_kernel() -> None:
    assert parse_cpu_list("0-3,8\n") == {0, 1, 2, 3, 8}
    assert parse_cpu_list("") == set()


@pytest.mark.parametrize(("paper", "journal"), list(itertools.product([False, True], repeat=2)))
def test_every_ring_has_one_writer_known_readers_and_a_capacity(paper: bool, journal: bool) -> None:
    table = ring_table(paper=paper, journal=journal)
    assert len({ring.name for ring in table}) == len(table)
    for ring in table:
        assert ring.writer in (*STAGES, "supervisor")
        assert set(ring.gating + ring.observers) <= {*STAGES, *(["journal"] if journal else [])}
        assert not set(ring.gating) & set(ring.observers)
        assert ring.capacity(RingsConfig()) >= 64
        assert ring.when_full
    assert ("gateway" in next(ring for ring in table if ring.name == "norm").gating) == paper
