"""The doorbell's protocol, tried in every order on a machine that delays stores.

Each processor has a first-in first-out store buffer, as x86 has: its own loads see what it stored, others
only what has drained. A fence or an atomic exchange waits until the buffer is empty. The search visits every
state that two programs can reach; a state in which the sleeper sleeps, an event is published and nobody
will wake it is a lost wake-up. Outcomes of the race that are right:

    the writer saw `sleeping` and wakes            the sleeper saw the event and does not sleep
    both: a bell rung in vain                      the futex word had moved on: no sleep

The programs are ring_commit_inline + ring_wake and wait_arm + poll + wait_park, one line an access.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

Step = tuple[str, ...]

WRITER: tuple[Step, ...] = (
    ("store", "event", "1"),
    ("fence",),
    ("load", "sleeping"),
    ("end_if", "0"),  # nobody sleeps
    ("exchange", "sleeping", "0"),
    ("end_if", "0"),  # another writer rings
    ("add", "wakes"),
    ("wake",),
)
SLEEPER: tuple[Step, ...] = (
    ("store", "sleeping", "1"),
    ("fence",),
    ("load", "event"),
    ("end_if", "1"),  # there is work: disarm
    ("load", "wakes"),
    ("keep",),
    ("load", "sleeping"),
    ("end_if", "0"),  # rung meanwhile
    ("futex_wait", "wakes"),
)


@dataclass(frozen=True)
class Processor:
    program: tuple[Step, ...]
    at: int = 0
    register: int = 0
    kept: int = 0
    buffer: tuple[tuple[str, int], ...] = ()
    asleep: bool = False

    @property
    def done(self) -> bool:
        return self.at >= len(self.program)


@dataclass(frozen=True)
class Machine:
    memory: tuple[tuple[str, int], ...]
    processors: tuple[Processor, ...]

    def with_processor(self, index: int, processor: Processor, **stored: int) -> Machine:
        processors = (*self.processors[:index], processor, *self.processors[index + 1 :])
        return Machine(tuple(sorted({**dict(self.memory), **stored}.items())), processors)


def changed(processor: Processor, **fields: object) -> Processor:
    return Processor(**{**processor.__dict__, **fields})


def step(machine: Machine, index: int) -> list[Machine]:
    """Every state that this processor can bring about next: draining one store, or its next access."""
    processor, memory, following = machine.processors[index], dict(machine.memory), []
    if processor.buffer:
        (name, value), *rest = processor.buffer
        following.append(machine.with_processor(index, changed(processor, buffer=tuple(rest)), **{name: value}))
    if processor.done or processor.asleep:
        return following
    verb, *operands = processor.program[processor.at]
    onward = changed(processor, at=processor.at + 1)
    if verb in ("fence", "exchange", "add", "wake", "futex_wait") and processor.buffer:
        return following  # waits for its own stores; the kernel's calls do too
    match verb:
        case "store":
            buffer = (*processor.buffer, (operands[0], int(operands[1])))
            following.append(machine.with_processor(index, changed(onward, buffer=buffer)))
        case "fence":
            following.append(machine.with_processor(index, onward))
        case "load":
            value = dict([*memory.items(), *processor.buffer])[operands[0]]
            following.append(machine.with_processor(index, changed(onward, register=value)))
        case "keep":
            following.append(machine.with_processor(index, changed(onward, kept=processor.register)))
        case "end_if":
            target = int(operands[1]) if operands[1:] else len(processor.program)
            at = target if processor.register == int(operands[0]) else processor.at + 1
            following.append(machine.with_processor(index, changed(processor, at=at)))
        case "exchange":
            old = memory[operands[0]]
            stored = {operands[0]: int(operands[1])}
            following.append(machine.with_processor(index, changed(onward, register=old), **stored))
        case "add":
            following.append(machine.with_processor(index, onward, **{operands[0]: memory[operands[0]] + 1}))
        case "futex_wait":
            asleep = memory[operands[0]] == processor.kept
            following.append(machine.with_processor(index, changed(onward, asleep=asleep)))
        case "wake":
            woken = machine.with_processor(index, onward)
            for other, sleeper in enumerate(woken.processors):
                if sleeper.asleep:
                    woken = woken.with_processor(other, changed(sleeper, asleep=False))
            following.append(woken)
    return following


def without(program: Sequence[Step], *verbs: str) -> tuple[Step, ...]:
    return tuple(line for line in program if line[0] not in verbs)


def lost_wakeups(*programs: tuple[Step, ...]) -> tuple[int, int]:
    """(final states in which someone sleeps for ever, states visited)."""
    start = Machine(
        (("event", 0), ("other", 0), ("sleeping", 0), ("wakes", 0)), tuple(Processor(program) for program in programs)
    )
    seen, waiting, lost = {start}, [start], 0
    while waiting:
        machine = waiting.pop()
        following = [state for index in range(len(programs)) for state in step(machine, index)]
        if not following and any(processor.asleep for processor in machine.processors):
            lost += 1
        for state in following:
            if state not in seen:
                seen.add(state)
                waiting.append(state)
    return lost, len(seen)


def test_no_order_of_one_writer_and_the_sleeper_loses_a_wake_up() -> None:
    lost, visited = lost_wakeups(WRITER, SLEEPER)
    assert lost == 0
    assert visited > 100


def test_no_order_of_two_writers_and_the_sleeper_loses_a_wake_up() -> None:
    lost, visited = lost_wakeups(WRITER, WRITER, SLEEPER)
    assert lost == 0
    assert visited > 1000


def test_sleeper_that_sleeps_again_is_woken_again() -> None:
    """A ringer delayed between clearing `sleeping` and moving `wakes` on meets the next sleep."""
    second = len(SLEEPER)
    first = tuple((*line, str(second)) if line[0] == "end_if" else line for line in SLEEPER)
    other_event = {("store", "event", "1"): ("store", "other", "1"), ("load", "event"): ("load", "other")}
    again = tuple(other_event.get(line, line) for line in SLEEPER)
    other_writer = tuple(other_event.get(line, line) for line in WRITER)
    lost, visited = lost_wakeups(WRITER, other_writer, (*first, *again))
    assert lost == 0
    assert visited > 1000


@pytest.mark.parametrize("fenceless", ["writer", "sleeper"])
def test_either_fence_left_out_loses_a_wake_up(fenceless: str) -> None:
    writer = without(WRITER, "fence") if fenceless == "writer" else WRITER
    sleeper = without(SLEEPER, "fence") if fenceless == "sleeper" else SLEEPER
    assert lost_wakeups(writer, sleeper)[0] > 0


def test_sleep_without_the_last_poll_loses_a_wake_up() -> None:
    sleeper = tuple(line for line in SLEEPER if line not in (("load", "event"), ("end_if", "1")))
    assert lost_wakeups(WRITER, sleeper)[0] > 0


def test_futex_word_read_after_the_look_at_sleeping_loses_a_wake_up() -> None:
    """Why wait_park loads `wakes` first."""
    sleeper = (*SLEEPER[:4], *SLEEPER[6:8], *SLEEPER[4:6], SLEEPER[8])
    assert lost_wakeups(WRITER, sleeper)[0] > 0
