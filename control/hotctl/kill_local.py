"""``hotctl kill --local``: kill an engine on this host, straight through its shared memory.

    find the control segment -> one atomic add -> the word is stored; only then is anything else imported
      -> latch on disk -> wait until it is effective -> (no answer: fence, end the gateway's process) -> say so

It asks nobody and waits for nobody: control may be dead, the supervisor stopped, the gateway in any state. The imports
are chosen for time (docs/kill.md has the figures): ctypes takes the add and the clock from the engine's own extension,
without loading Python's view of it.
"""

from __future__ import annotations

import os
import sys
from mmap import mmap

TYPE_CHECKING = False  # as typing's own, which takes longer to import than the kill
if TYPE_CHECKING:
    from typing import Any

HELP = """usage: hotctl kill --local [ENGINE] [-m TEXT] [--wait] [--timeout SECONDS] [--no-escalate] [--json]

Kill an engine on this host, without gRPC and without asking: new orders stop, those that have not left are thrown
away, open orders are cancelled, and it stays killed over restarts. ENGINE may be left out when there is one.

  -m, --reason TEXT  for the record: the latch, and whoever reads it
  --wait             exit with 0 only when every cancel is confirmed
  --timeout SECONDS  that --wait may take (30)
  --no-escalate      do not end the gateway's process, even if it does not confirm
  --all              every engine on this host
  --instrument SYMBOL, --strategy N, --account N, --venue 0
                     only this part of it, through the limits; may be said several times
  --json, -o json    for machines: one JSON object for each engine, on a line

exit codes: 0 effective (--wait: and all cancels confirmed), 2 usage, 3 denied, 5 no such engine,
            6 latched, and whether it is effective is not known, 7 effective, but cancels are outstanding
"""
OK, USAGE, DENIED, UNREACHABLE, UNKNOWN, PARTIAL = 0, 2, 3, 5, 6, 7

# Options with a value, as the other verbs have them.
VALUED = {
    "--instrument": "instrument", "--strategy": "strategy", "--account": "account", "--venue": "venue",
    "--reason": "reason", "-m": "reason", "--timeout": "timeout", "--engine": "engine", "-o": "output",
    "--output": "output",
}  # fmt: skip

SCOPES = ("instrument", "strategy", "account", "venue")

SHM = "/dev/shm"
BODY = 128  # SEGMENT_HEADER_SIZE
LAYOUT_HASH, OWNER_START, OWNER_PID = 8, 24, 48  # of segment_header
# Of control_page; tests/unit/test_kill_local.py holds these equal to the layout.
ARMED, SENT, EFFECTIVE_TIME, ORDER_TIME, IN_FLIGHT, SWEPT = 64, 128, 136, 144, 152, 160
SWEEP_ORDERS, OPEN_ORDERS, DISCARDED, RESETS = 168, 172, 176, 180
RESET, RESET_TIME, ESCALATE, LATCH_PATH, INTENTS_PATH = 192, 200, 448, 512, 768
PATH_MAX = 256
STAGE_PID = 36  # of stage_page
POLL_SECONDS = 0.0002
GRACE_SECONDS = 1.0  # for a process that was ended, after which its end is not known


class RefusedError(Exception):
    """What could not be done, and the exit code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Options:
    """What was asked for. Made by hand: a parser would cost more than the kill."""

    def __init__(self, arguments: list[str]) -> None:
        self.engine = ""
        self.reason = "hotctl kill --local"
        self.timeout = 30.0
        self.wait = self.json = self.all = self.help = False
        self.escalate = True
        self._verb = False
        self.scopes: list[str] = []
        rest = iter(arguments)
        for word in rest:
            name, equals, value = word.partition("=")
            if name in VALUED:
                value = value if equals else next(rest, "")
                if not value:
                    raise RefusedError(USAGE, f"{name} wants a value")
                self._take(VALUED[name], value)
            elif word in ("-h", "--help"):
                self.help = True
            elif word in ("--wait", "--json", "--all"):
                setattr(self, word[2:], True)
            elif word == "--no-escalate":
                self.escalate = False
            elif word in ("--local", "--no-input") or (word == "kill" and not self._verb):
                self._verb = self._verb or word == "kill"
            elif word.startswith("-"):
                raise RefusedError(USAGE, f"{word}: there is no such option; nothing was killed")
            else:
                if self.engine:
                    raise RefusedError(USAGE, f"{word}: one engine at a time, or --all; nothing was killed")
                self.engine = word

    def _take(self, name: str, value: str) -> None:
        if name in SCOPES:
            self.scopes.append(f"{name}.{value}")
        elif name == "reason":
            self.reason = value
        elif name == "engine":
            self.engine = value
        elif name == "output":
            self.json = value in ("json", "jsonl")
        if name != "timeout":
            return
        try:
            self.timeout = float(value)
        except ValueError:
            raise RefusedError(USAGE, f"--timeout {value}: no number of seconds; nothing was killed") from None


# ---- the kill itself -----------------------------------------------------------------------------------


def engines_here() -> list[str]:
    """Names of the engines that have a control segment on this host."""
    return sorted(
        name[len("hotpath.") : -len(".control")]
        for name in os.listdir(SHM)
        if name.startswith("hotpath.") and name.endswith(".control") and name.count(".") == 2
    )


def chosen(options: Options) -> list[str]:
    """The engines that are meant."""
    here = engines_here()
    if options.engine:
        if options.engine not in here:
            known = f"engines here: {', '.join(here)}" if here else "no engine runs on this host"
            raise RefusedError(UNREACHABLE, f"{options.engine}: no engine of that name has memory here ({known})")
        return [options.engine]
    if not here:
        raise RefusedError(UNREACHABLE, "no engine runs on this host")
    if len(here) > 1 and not options.all:
        raise RefusedError(
            USAGE, f"there are several engines, name one or say --all: {', '.join(here)}; nothing was killed"
        )
    return here


def extension() -> str:
    """Path of the engine's extension, found without importing its package."""
    for finder in sys.meta_path:
        spec = finder.find_spec("ffi", None) if hasattr(finder, "find_spec") else None
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            for name in os.listdir(folder):
                if name.startswith("_native.") and name.endswith(".so"):
                    return os.path.join(folder, name)
    raise RefusedError(UNREACHABLE, "ffi/_native is not built: python ffi/build.py")


def mapped(name: str, *, write: bool) -> mmap:
    """A segment."""
    import mmap as kinds

    path = f"{SHM}/hotpath.{name}"
    try:
        descriptor = os.open(path, (os.O_RDWR if write else os.O_RDONLY) | os.O_CLOEXEC | os.O_NOFOLLOW)
    except PermissionError:
        raise RefusedError(DENIED, f"{path}: owned by another user: be that user, or root") from None
    except FileNotFoundError:
        raise RefusedError(UNREACHABLE, f"{path}: there is no such engine") from None
    try:
        access = kinds.PROT_READ | (kinds.PROT_WRITE if write else 0)
        return mmap(descriptor, os.fstat(descriptor).st_size, kinds.MAP_SHARED, access)
    finally:
        os.close(descriptor)


class Kill:
    """One engine, killed by the time that this exists."""

    def __init__(self, engine: str) -> None:
        import ctypes

        self.engine = engine
        self.page = mapped(f"{engine}.control", write=True)
        if self.page[:8] != b"HOTPATH1" or len(self.page) < BODY + 8:
            raise RefusedError(
                UNREACHABLE, f"hotpath.{engine}.control is half made: the engine is just starting, or died so"
            )
        self._native = native = ctypes.CDLL(extension())
        self._body = ctypes.byref(ctypes.c_char.from_buffer(self.page, BODY))
        clock, self._clock = None, None
        try:
            self._clock = mapped(f"{engine}.clock", write=True)
            clock = ctypes.byref(ctypes.c_char.from_buffer(self._clock, BODY))
        except RefusedError:
            pass  # a kill without its time is a kill
        native.hotpath_kill.restype = ctypes.c_uint64
        time_ns = ctypes.c_uint64()
        self.epoch = int(native.hotpath_kill(self._body, clock, ctypes.byref(time_ns)))
        # The word is stored. From here on there is time.
        import time

        self.stored_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        self.cpu_ns = time.process_time_ns()
        self.time_ns = int(time_ns.value)
        self.escalated = ""
        self.latched = False
        self.layout = int.from_bytes(self.page[LAYOUT_HASH : LAYOUT_HASH + 8], "little") == layout_hash()

    def word(self, offset: int, size: int = 8) -> int:
        """One word of the control page, as it stands."""
        return int.from_bytes(self.page[BODY + offset : BODY + offset + size], "little")

    def path(self, offset: int) -> str:
        """A path that the engine left for us."""
        return self.page[BODY + offset : BODY + offset + PATH_MAX].rstrip(b"\0").decode(errors="replace")

    @property
    def effective(self) -> bool:
        """No byte of an order can leave any more."""
        return self.word(SENT) >= self.epoch or self.word(RESET) >= self.epoch

    @property
    def confirmed(self) -> bool:
        """And every order that was open is known to be gone."""
        return self.word(SENT) >= self.epoch and self.word(SWEPT) >= self.epoch and not self.word(OPEN_ORDERS, 4)

    def alive(self) -> bool:
        """Whether the engine's supervisor runs."""
        pid = int.from_bytes(self.page[OWNER_PID : OWNER_PID + 4], "little")
        return start_time(pid) == int.from_bytes(self.page[OWNER_START : OWNER_START + 8], "little")

    # ---- afterwards ------------------------------------------------------------------------------

    def latch(self, reason: str) -> str:
        """Keep it killed over restarts; returns what went wrong, empty when nothing did."""
        import json
        import time

        path = self.path(LATCH_PATH) if self.layout else ""
        if not path:
            return "the engine is of another build: where its latch lies is not known"
        said = {"at": time.strftime("%Y-%m-%d %H:%M:%S"), "reason": reason, "epoch": self.epoch, "who": who()}
        beside = f"{path}.{os.getpid()}.new"
        try:
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                os.write(descriptor, json.dumps(said).encode())
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.rename(beside, path)
            folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            return f"{path} cannot be written: {error.strerror}"
        self.latched = True
        return ""

    def escalate(self) -> None:
        """Fence the gateway and end its process: its socket is reset with it."""
        import ctypes
        import select
        import signal

        try:
            page = mapped(f"{self.engine}.stage.gateway", write=False)
        except RefusedError:
            return
        pid = int.from_bytes(page[BODY + STAGE_PID : BODY + STAGE_PID + 4], "little")
        if not pid or not is_stage(pid):
            return
        self._fence()
        try:
            handle = os.pidfd_open(pid)
        except OSError:
            return
        try:
            if not is_stage(pid):  # its number went to another process before we had hold of it
                return
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            ended, _, _ = select.select([handle], [], [], GRACE_SECONDS)
        except PermissionError:
            self.escalated = f"fenced; process {pid} of the gateway may not be ended by this user"
            return
        except ProcessLookupError:
            ended = [handle]
        finally:
            os.close(handle)
        if not ended:
            self.escalated = f"fenced; process {pid} of the gateway was killed, and has not ended yet"
            return
        self._native.control_reset(self._body, ctypes.c_uint64(self.epoch), ctypes.c_uint64(self._now()))
        self.escalated = f"process {pid} of the gateway was fenced and ended, its connection reset"

    def _fence(self) -> None:
        import ctypes

        path = self.path(INTENTS_PATH)
        try:
            with open(path, "r+b") as file:
                intents = mmap(file.fileno(), 4096)
        except (OSError, ValueError):
            return
        self._native.hotpath_fence.restype = ctypes.c_uint64
        self._native.hotpath_fence(ctypes.byref(ctypes.c_char.from_buffer(intents)))

    def _now(self) -> int:
        """On the engine's clock."""
        import ctypes

        time_ns = ctypes.c_uint64()
        if self._clock is not None:
            scratch = ctypes.c_uint64()  # a word of our own: nothing is killed by it
            clock = ctypes.byref(ctypes.c_char.from_buffer(self._clock, BODY))
            self._native.hotpath_kill(ctypes.byref(scratch), clock, ctypes.byref(time_ns))
        return int(time_ns.value)

    def wake_supervisor(self) -> None:
        """A supervisor that was stopped can cancel nothing."""
        import signal

        pid = int.from_bytes(self.page[OWNER_PID : OWNER_PID + 4], "little")
        if self.alive() and state_of(pid) == "T":
            try:
                os.kill(pid, signal.SIGCONT)
            except OSError:
                return


def layout_hash() -> int:
    """Of the build that this command is of; 0 when it cannot be told."""
    header = os.path.join(os.path.dirname(extension()), "client", "layout_hash.h")
    try:
        with open(header) as file:
            text = file.read()
    except OSError:
        return 0
    return int(text.split("HOTPATH_LAYOUT_HASH")[1].split()[0].removesuffix("ull"), 16)


def who() -> str:
    """The user, by number where there is no name, and where from."""
    import pwd

    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = str(os.getuid())
    return f"{name} on this host (process {os.getpid()})"


def stat_fields(pid: int) -> list[str]:
    """Of /proc/PID/stat, from the state on; empty when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return []


def state_of(pid: int) -> str:
    """ "R", "S", "T", ...; empty when it is gone."""
    return (stat_fields(pid) or [""])[0]


def start_time(pid: int) -> int:
    """Clock ticks since boot; 0 when it is gone."""
    fields = stat_fields(pid)
    return int(fields[19]) if fields and fields[0] not in "ZX" else 0


def is_stage(pid: int) -> bool:
    """Whether a process is one of an engine's stages."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return b"hotpath.stage_process" in file.read()
    except OSError:
        return False


# ---- what is said --------------------------------------------------------------------------------------


def follow(kill: Kill, options: Options) -> int:
    """Wait for what was asked for; the exit code."""
    import time

    started = time.monotonic()
    if not kill.layout:
        return UNKNOWN
    escalate_at = started + kill.word(ESCALATE) / 1e9 * 1.5  # the supervisor, where it runs, comes first
    given_up = escalate_at + GRACE_SECONDS
    tried = not options.escalate
    while not kill.effective:
        now = time.monotonic()
        if now >= escalate_at and not tried:
            tried = True
            kill.escalate()
        elif now >= given_up:
            return UNKNOWN
        time.sleep(POLL_SECONDS)
    if kill.escalated:
        kill.wake_supervisor()
    deadline = started + options.timeout
    while options.wait and not kill.confirmed:
        if time.monotonic() >= deadline:
            return PARTIAL
        time.sleep(POLL_SECONDS * 5)
    return OK


def summary(kill: Kill, code: int, trouble: str) -> dict[str, Any]:
    """All that is known of it; spans in ns, from the call to the kernel of our clock on."""
    known = kill.layout and kill.effective
    by_gateway = known and kill.word(SENT) >= kill.epoch
    found, left = kill.word(SWEEP_ORDERS, 4), kill.word(OPEN_ORDERS, 4)
    order_ns = kill.word(ORDER_TIME) if by_gateway else 0
    done_ns = kill.word(EFFECTIVE_TIME if by_gateway else RESET_TIME) if known else 0
    return {
        "engine": kill.engine,
        "epoch": kill.epoch,
        "alive": kill.alive(),
        "latched": kill.latched,
        "effective": known,
        "effective_ns": max(0, done_ns - kill.time_ns) if known and kill.time_ns else None,
        "last_order_byte_ns": max(0, order_ns - kill.time_ns) if order_ns and kill.time_ns else None,
        "in_flight_bytes": kill.word(IN_FLIGHT) if kill.layout else None,
        "orders_discarded": kill.word(DISCARDED, 4) if by_gateway else None,
        "cancels_confirmed": max(0, found - left) if by_gateway else None,
        "cancels_outstanding": left if kill.layout else None,
        "connection_resets": kill.word(RESETS, 4) if by_gateway else None,
        "escalated": kill.escalated,
        "trouble": trouble,
        "stored_monotonic_ns": kill.stored_ns,
        "stored_cpu_ns": kill.cpu_ns,
        "exit_code": code,
    }


def microseconds(span_ns: int) -> str:
    """A span for people."""
    return f"{span_ns / 1e3:,.1f} us" if span_ns < 1_000_000 else f"{span_ns / 1e6:,.1f} ms"


def sentences(told: dict[str, Any]) -> str:
    """The same for people."""
    lines = [f"{told['engine']}: killed (epoch {told['epoch']}), {'latched' if told['latched'] else 'NOT LATCHED'}"]
    if not told["alive"]:
        lines.append("  the engine is dead; it will not be armed before the latch is accepted")
    if told["effective"]:
        when = f" after {microseconds(told['effective_ns'])}" if told["effective_ns"] is not None else ""
        lines.append(f"  effective{when}: no byte of an order can leave any more")
        last = told["last_order_byte_ns"]
        if last is not None:
            lines.append(f"  last byte of a new order: {f'{microseconds(last)} after' if last else 'before'} the kill")
        else:
            lines.append("  last byte of a new order: none by the present gateway process")
    else:
        under_way = f": {told['in_flight_bytes']} bytes of orders under way" if told["in_flight_bytes"] else ""
        lines.append(f"  NOT KNOWN TO BE EFFECTIVE{under_way}")
    if told["cancels_confirmed"] is not None:
        lines.append(f"  cancels: {told['cancels_confirmed']} confirmed, {told['cancels_outstanding']} outstanding")
    elif told["cancels_outstanding"]:
        lines.append(f"  cancels: {told['cancels_outstanding']} outstanding, for the next login")
    lines += [f"  {text}" for text in (told["escalated"], told["trouble"]) if text]
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Kill, then say what came of it. Returns the exit code."""
    try:
        options = Options(arguments)
        if options.help:
            print(HELP, end="")
            return OK
        engines = chosen(options)
    except RefusedError as error:
        print(f"hotctl: {error}", file=sys.stderr)
        return error.code
    if options.scopes:  # a part of an engine: through its limits, in a few hundred milliseconds
        from hotctl.kill_scope import main as kill_scope

        return kill_scope(
            engines, options.scopes, who=who(), why=options.reason, wait=options.wait, timeout=options.timeout,
            json=options.json,
        )  # fmt: skip
    worst, kills = OK, []
    for engine in engines:  # each of them, before anything is said of one
        try:
            kills.append(Kill(engine))
        except RefusedError as error:
            print(f"hotctl: {error}", file=sys.stderr)
            worst = max(worst, error.code)
    for kill in kills:
        trouble = kill.latch(options.reason)
        code = follow(kill, options) if kill.alive() or kill.effective else UNREACHABLE
        told = summary(kill, code, trouble)
        if options.json:
            import json

            print(json.dumps(told), flush=True)
        else:
            print(sentences(told), flush=True)
        worst = max(worst, code)
    return worst
