"""Requests to a supervisor: small files, each written whole and renamed into its place, answered in the same way.

    <state_dir>/<engine>.commands/<id>.request    by whoever asks:   {"run_epoch":...,"what":"arm",...}
                                  <id>.taken      the supervisor renamed it: from here on it cannot be withdrawn
                                  <id>.answer     by the supervisor: {"done":true,...}

A request that has an answer is not carried out again, whoever was killed in between; one of another run is answered
with a refusal. The folder is its owner's alone: whoever may write there could as well write to the engine's memory.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct

from hotpath.config import Config

ID = re.compile(r"[A-Za-z0-9_-]{8,80}")
POLL_SECONDS = 0.01
KEPT_SECONDS = 7 * 86_400.0  # that an answer is left lying
FILES_MAX = 1000  # looked at in a round


class Condition(Struct, frozen=True):
    """One thing that must hold before an engine may be armed."""

    name: str
    holds: bool
    detail: str = ""


class Request(Struct, frozen=True, forbid_unknown_fields=True):
    """What is asked of a supervisor."""

    run_epoch: int
    what: str  # "check", "arm", "disarm", "drain"
    who: str = ""
    why: str = ""
    kill_epoch: int = 0  # of "arm": the kill that is accepted


class Answer(Struct, frozen=True):
    """What became of a request."""

    done: bool
    detail: str = ""
    conditions: list[Condition] = []


def commands_folder(config: Config) -> Path:
    """Where requests to an engine's supervisor lie."""
    return Path(config.engine.state_dir) / f"{config.engine.name}.commands"


def write_whole(path: Path, content: bytes) -> None:
    """Put a file in its place, whole or not at all, and on disk. Raises OSError."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.rename(path)


class Asker:
    """The side that asks."""

    def __init__(self, config: Config) -> None:
        self.folder = commands_folder(config)

    def ask(self, request_id: str, request: Request, *, seconds: float) -> Answer | None:
        """Ask, and wait for the answer; None when none came. A request that was asked before is not asked again."""
        if self.answer(request_id) is None and not self._asked(request_id):
            self.folder.mkdir(mode=0o700, exist_ok=True)
            write_whole(self._path(request_id, "request"), msgspec.json.encode(request))
        deadline = time.monotonic() + seconds
        while (found := self.answer(request_id)) is None and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        return found

    def answer(self, request_id: str) -> Answer | None:
        """The answer to a request, if there is one yet."""
        try:
            return msgspec.json.decode(self._path(request_id, "answer").read_bytes(), type=Answer)
        except FileNotFoundError:
            return None

    def _asked(self, request_id: str) -> bool:
        return self._path(request_id, "request").exists() or self._path(request_id, "taken").exists()

    def end(self, request_id: str, *, seconds: float) -> Answer | None:
        """Ask no more: None when it was never taken up and never will be, else its answer.

        Raises TimeoutError when it was taken up and no answer came: it may have been done.
        """
        try:
            self._path(request_id, "request").unlink()
            return None
        except FileNotFoundError:
            pass  # taken up, answered, or never asked
        deadline = time.monotonic() + seconds
        while (found := self.answer(request_id)) is None and self._path(request_id, "taken").exists():
            if time.monotonic() > deadline:
                raise TimeoutError(f"request {request_id} was taken up, and not answered")
            time.sleep(POLL_SECONDS)
        return found or self.answer(request_id)

    def _path(self, request_id: str, kind: str) -> Path:
        if not ID.fullmatch(request_id):
            raise ValueError(f"{request_id!r} is no id of a request")
        return self.folder / f"{request_id}.{kind}"


class RequestDesk:
    """The supervisor's side."""

    def __init__(self, config: Config, *, run_epoch: int) -> None:
        self.folder = commands_folder(config)
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self._run_epoch = run_epoch
        self._seen = 0
        self._forget_old()

    def serve(self, carry_out: Callable[[Request], Answer]) -> list[str]:
        """Answer what was asked since the last look. Returns what people should know."""
        try:
            changed = self.folder.stat().st_mtime_ns
            if changed == self._seen:
                return []
            self._seen = changed  # of before: what is asked meanwhile is seen the next time
            return [notice for path in self._waiting() if (notice := self._serve_one(path, carry_out))]
        except OSError as error:
            return [f"requests cannot be served: {self.folder}: {error.strerror}"]

    def _waiting(self) -> list[Path]:
        found = sorted(self.folder.glob("*.request"))[:FILES_MAX]
        return [path for path in found if ID.fullmatch(path.stem)]

    def _serve_one(self, path: Path, carry_out: Callable[[Request], Answer]) -> str:
        answered, taken = path.with_suffix(".answer"), path.with_suffix(".taken")
        try:
            path.rename(taken)
        except FileNotFoundError:
            return ""  # withdrawn
        if answered.exists():
            taken.unlink()
            return ""
        try:
            request = msgspec.json.decode(taken.read_bytes(), type=Request)
        except msgspec.MsgspecError as error:
            write_whole(answered, msgspec.json.encode(Answer(False, f"no request: {error}")))
            taken.unlink()
            return f"{path}: no request: {error}"
        if request.run_epoch != self._run_epoch:
            answer = Answer(False, "it was meant for another run of this engine")
        else:
            answer = carry_out(request)
        write_whole(answered, msgspec.json.encode(answer))
        taken.unlink()
        if request.what == "check":
            return ""
        return f"{request.what} asked for by {request.who} ({request.why}): {answer.detail}"

    def _forget_old(self) -> None:
        """Answers that nobody will ask for again."""
        for path in self.folder.iterdir():
            try:
                if time.time() - path.stat().st_mtime > KEPT_SECONDS:
                    path.unlink()
            except OSError:
                continue
