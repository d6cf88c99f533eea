"""A child process that stops at each of its system calls, before and after it: to be killed there, or to be refused.

    fork --> child: traced, acts --stop at a call--> parent: chooses --go on | SIGKILL | fail it with an errno

All threads of the child are followed. Linux only; a call is refused on x86-64 only, where its registers are known.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import signal
import struct
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from functools import cache

TRACE_ME, CONT, GET_REGISTERS, SET_REGISTERS, SYSTEM_CALL, SET_OPTIONS = 0, 7, 12, 13, 24, 0x4200
GET_CALL_INFO = 0x420E
MARK_CALLS, FOLLOW_THREADS, DIE_WITH_TRACER = 0x1, 0x8, 0x100000
CALL_STOP = signal.SIGTRAP | 0x80
WAIT_FOR_THREADS = 0x40000000
DIE_WITH_PARENT = 1  # prctl
ENTRY, EXIT = 1, 2  # of the call's description
REGISTER_RESULT, REGISTER_CALL = 10, 15  # of user_regs_struct, in words
REGISTERS = 27
NO_CALL = 2**64 - 1
WAITS = frozenset({"clock_nanosleep", "nanosleep", "futex", "epoll_wait", "sched_yield", "restart_syscall"})
# What others could see is the same before and after: nobody need die on both sides of it.
CHANGES_NOTHING = frozenset(
    {"newfstatat", "fstat", "stat", "lseek", "read", "pread64", "ioctl", "getdents64", "fcntl", "mmap", "munmap", "brk"}
    | {"mprotect", "madvise", "rt_sigaction", "rt_sigprocmask", "getpid", "gettid", "getppid", "getrandom", "readlink"}
    | {"sched_getaffinity", "statfs", "fstatfs", "getsockname", "getsockopt", "clone3", "access", "uname", "getuid"}
)
MAY_BE_IDLE = frozenset({"recvfrom", "recvmsg", "accept4", "poll", "ppoll", "select", "pselect6"})

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


class TraceError(Exception):
    """The child or the kernel did something else than expected."""


def _ptrace(request: int, thread: int, address: int = 0, data: object = None) -> int:
    done: int = _libc.ptrace(request, thread, address, data)
    if done < 0:
        code = ctypes.get_errno()
        if code == errno.ESRCH:
            raise ProcessLookupError(code, "the traced thread is gone")
        raise OSError(code, f"ptrace {request:#x}: {os.strerror(code)}")
    return done


@cache
def call_names() -> dict[int, str]:
    """Names of this machine's system calls by number, from the compiler's headers."""
    source = "#include <sys/syscall.h>\n"
    done = subprocess.run(["gcc", "-E", "-dM", "-"], input=source, capture_output=True, text=True, check=True)
    return {int(number): name for name, number in re.findall(r"^#define __NR_(\w+) (\d+)$", done.stdout, re.MULTILINE)}


@dataclass(frozen=True, order=True)
class Point:
    """A place in the life of a process: before or after so many calls of one name."""

    call: str
    number: int  # from 1; a call that only looked and found nothing does not count
    after: bool

    def __str__(self) -> str:
        return f"{'after' if self.after else 'before'} {self.call} {self.number}"


class Do(Enum):
    """What becomes of a child at a stop."""

    GO_ON = 0
    KILL = 1
    FAIL = 2  # this call, with the run's errno


@dataclass
class Life:
    """What became of a traced child."""

    points: list[Point] = field(default_factory=list)  # in their order
    killed_at: Point | None = None
    failed_at: Point | None = None
    exit_code: int | None = None  # None: killed


@dataclass
class _Thread:
    call: str = ""
    fails: bool = False


class TracedProcess:
    """One child, forked and traced; `act` is all it does. Only one thread of the parent may drive it."""

    def __init__(self, act: Callable[[], object], *, fault: int = errno.EIO) -> None:
        """`fault`: the errno of a call that is failed."""
        call_names()  # no compiler runs between two stops
        self.fault = fault
        self.life = Life()
        self._seen: Counter[tuple[str, bool]] = Counter()
        self._threads: dict[int, _Thread] = {}
        self.pid = os.fork()
        if not self.pid:
            _be_traced(act)
        pid, status = os.waitpid(self.pid, 0)
        if pid != self.pid or not os.WIFSTOPPED(status):
            raise TraceError(f"the child did not begin: status {status:#x}")
        _ptrace(SET_OPTIONS, self.pid, 0, MARK_CALLS | FOLLOW_THREADS | DIE_WITH_TRACER)
        self._threads[self.pid] = _Thread()
        _ptrace(SYSTEM_CALL, self.pid)

    def run(
        self, choose: Callable[[Point], Do], meanwhile: Callable[[], object] = lambda: None, *, seconds: float = 30.0
    ) -> Life:
        """Until the child has ended. `choose` is asked at each point, `meanwhile` called as often as possible."""
        deadline = time.monotonic() + seconds
        try:
            while self.life.exit_code is None and self.life.killed_at is None:
                self._serve(choose)
                meanwhile()
                if time.monotonic() > deadline:
                    raise TraceError(f"the child did not end in {seconds:g} s; it was {self.life.points[-1:]!s}")
        finally:
            self.kill()
        return self.life

    def kill(self) -> None:
        """End it at once, where it still lives; returns when nothing of it is left."""
        if self.life.exit_code is not None or not self._threads:
            return
        os.kill(self.pid, signal.SIGKILL)
        while True:  # the first thread is the last to be reported
            try:
                thread, status = os.waitpid(-self.pid, WAIT_FOR_THREADS)
            except ChildProcessError:
                break
            if thread == self.pid and (os.WIFSIGNALED(status) or os.WIFEXITED(status)):
                break
        self._threads.clear()

    def _serve(self, choose: Callable[[Point], Do]) -> None:
        """Whatever has happened since."""
        for _ in range(64):
            thread, status = os.waitpid(-self.pid, WAIT_FOR_THREADS | os.WNOHANG)
            if not thread:
                time.sleep(0)
                return
            if os.WIFEXITED(status) or os.WIFSIGNALED(status):
                self._threads.pop(thread, None)
                if thread == self.pid:
                    self.life.exit_code = os.waitstatus_to_exitcode(status)
                    self._threads.clear()
                    return
                continue
            self._stopped(thread, status, choose)
            if self.life.killed_at is not None:
                return

    def _stopped(self, thread: int, status: int, choose: Callable[[Point], Do]) -> None:
        number, passed_on = os.WSTOPSIG(status), 0
        state = self._threads.setdefault(thread, _Thread())
        try:
            if number == CALL_STOP:
                self._at_call(thread, state, choose)
                if self.life.killed_at is not None:
                    return
            elif number not in (signal.SIGTRAP, signal.SIGSTOP):  # begun threads stop once
                passed_on = number
            _ptrace(SYSTEM_CALL, thread, 0, passed_on)
        except ProcessLookupError:
            return  # ended meanwhile

    def _at_call(self, thread: int, state: _Thread, choose: Callable[[Point], Do]) -> None:
        described = ctypes.create_string_buffer(88)
        _ptrace(GET_CALL_INFO, thread, len(described), ctypes.addressof(described))
        stop = described.raw[0]
        if stop == ENTRY:
            (called,) = struct.unpack_from("<Q", described.raw, 24)
            state.call = call_names().get(called, str(called))
            if state.call in WAITS or state.call in MAY_BE_IDLE:
                return
        elif stop == EXIT:
            (result,) = struct.unpack_from("<q", described.raw, 24)
            if state.fails:
                state.fails = False
                self._set_register(thread, REGISTER_RESULT, -self.fault & NO_CALL)
                return
            idle = state.call in MAY_BE_IDLE and result <= 0
            if idle or state.call in WAITS or state.call in CHANGES_NOTHING:
                return
        else:
            return
        after = stop == EXIT
        self._seen[state.call, after] += 1
        point = Point(state.call, self._seen[state.call, after], after)
        self.life.points.append(point)
        what = choose(point)
        if what is Do.KILL:
            self.life.killed_at = point
        elif what is Do.FAIL and not after:
            self._set_register(thread, REGISTER_CALL, NO_CALL)
            state.fails, self.life.failed_at = True, point

    @staticmethod
    def _set_register(thread: int, which: int, value: int) -> None:
        registers = (ctypes.c_uint64 * REGISTERS)()
        _ptrace(GET_REGISTERS, thread, 0, ctypes.addressof(registers))
        registers[which] = value
        _ptrace(SET_REGISTERS, thread, 0, ctypes.addressof(registers))


def _be_traced(act: Callable[[], object]) -> None:
    """The child's whole life."""
    code = 1
    try:
        _libc.prctl(DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
        os.setpgid(0, 0)  # its threads are waited for by its group
        _ptrace(TRACE_ME, 0)
        os.kill(os.getpid(), signal.SIGSTOP)
        code = int(act() or 0)  # type: ignore[call-overload]
    except SystemExit as stop:
        code = int(stop.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
