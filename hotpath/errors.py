"""Every error that hotpath raises on purpose.

    HotpathError                    1   the root; nothing raises it itself
    ├── ConfigError                78   a configuration file is missing, malformed or contradicts itself
    ├── RefdataError               65   reference data is missing, malformed or of another version
    ├── CaptureError               65   a recorded feed cannot be read
    │   └── JournalError           65   a journal's folder is damaged, foreign or cannot be written
    ├── HistoryError               65   a run's samples cannot be found or read
    ├── EvidenceError              65   evidence cannot be made: no key, no journal, no place
    ├── ModelError                 65   a model file or blob is refused
    │   └── NotNativeError         65   the native executor has no such operator; ONNX Runtime may
    ├── HostError                  77   the machine denies what the configuration demands
    ├── HeldError                  75   another process holds what only one may have
    ├── SegmentError               71   shared memory
    │   ├── SegmentMissingError    69   there is no such segment: no engine of that name is running
    │   ├── SegmentOwnedError      75   a live run owns it
    │   ├── SegmentMismatchError   65   made by another layout, boot or run, or half made
    │   └── SegmentSpaceError      71   /dev/shm or the memory lock limit is too small
    ├── RingError                  70   a ring was put together wrongly
    ├── IntentsError               65   an intent file is held, foreign or contradicts itself
    ├── AdjustmentError            65   an adjustment is no such thing, or their file was changed
    ├── SeatError                  75   a co-process's seat is taken, or the engine does not answer it
    │   ├── SeatCutError           75   the engine has cut the seat off
    │   └── SeatFullError          75   the engine has not yet taken what was asked before
    ├── StrategyError              70   a Python strategy cannot be run
    │   └── NonsenseError          70   it asked for what no sane strategy asks for: it is cut off
    ├── LimitsError                65   a limit that there is not, or a value that it cannot have
    │   └── StaleVersionError      75   somebody else changed the limits first
    ├── VenueError                 69   the venue cannot be reached or refuses the session
    └── StageError                 70   a stage failed, or did not start or stop in time
        └── RecoveryError          76   a dead stage's state cannot be made again, or differs from what it did

The numbers are exit codes, after BSD's sysexits.h. An error says what was found and what was wanted;
`next_step` says what to do about it, and the command line prints it below the message.
"""

from __future__ import annotations


class HotpathError(Exception):
    """The root. `exit_code` is the process's; `next_step` is advice, empty when there is none."""

    exit_code: int = 1

    def __init__(self, message: str, *, next_step: str = "") -> None:
        super().__init__(message)
        self.next_step = next_step


class ConfigError(HotpathError):
    """A configuration file is missing, malformed or contradicts itself."""

    exit_code = 78


class RefdataError(HotpathError):
    """Reference data is missing, malformed or of another version."""

    exit_code = 65


class CaptureError(HotpathError):
    """A recorded feed cannot be read."""

    exit_code = 65


class JournalError(CaptureError):
    """A journal's folder is damaged, foreign, or cannot be written."""


class HistoryError(HotpathError):
    """A run's samples cannot be found or read."""

    exit_code = 65


class EvidenceError(HotpathError):
    """Evidence cannot be made: no key, no journal of that day, no place for it."""

    exit_code = 65


class ModelError(HotpathError):
    """A model file or blob is refused: what was found, and where."""

    exit_code = 65


class NotNativeError(ModelError):
    """A graph that is allowed, but outside what the native executor can do: ONNX Runtime may run it."""


class HostError(HotpathError):
    """The machine denies what the configuration demands: a privilege, a core, a limit."""

    exit_code = 77


class HeldError(HotpathError):
    """Another process of this host holds what only one may have: a name, a venue session, a port."""

    exit_code = 75


class SegmentError(HotpathError):
    """Shared memory cannot be made, found or trusted. `segment` is its POSIX name."""

    exit_code = 71

    def __init__(self, segment: str, message: str, *, next_step: str = "") -> None:
        super().__init__(f"segment {segment}: {message}", next_step=next_step)
        self.segment = segment


class SegmentMissingError(SegmentError):
    """There is no such segment."""

    exit_code = 69


class SegmentOwnedError(SegmentError):
    """A live run owns the segment."""

    exit_code = 75


class SegmentMismatchError(SegmentError):
    """The segment was made by another layout, boot or run, for another use, or only half."""

    exit_code = 65


class SegmentSpaceError(SegmentError):
    """There is not enough shared memory, or not enough of it may be locked."""

    exit_code = 71


class RingError(HotpathError):
    """A ring was put together wrongly: a size that is no power of two, too many readers."""

    exit_code = 70


class IntentsError(HotpathError):
    """An intent file cannot be made or trusted, or another gateway holds it."""

    exit_code = 65

    def __init__(self, path: object, message: str, *, next_step: str = "") -> None:
        super().__init__(f"intent file {path}: {message}", next_step=next_step)
        self.path = path


class AdjustmentError(HotpathError):
    """An adjustment is no such thing, cannot be kept, or the file of those before was changed."""

    exit_code = 65


class SeatError(HotpathError):
    """A co-process's seat is taken by another program, or the engine does not answer."""

    exit_code = 75


class SeatCutError(SeatError):
    """The engine has cut the seat off."""


class SeatFullError(SeatError):
    """The engine has not yet taken what was asked before."""


class StrategyError(HotpathError):
    """A Python strategy cannot be run: its class, its parameters, or what it calls."""

    exit_code = 70


class NonsenseError(StrategyError):
    """A strategy asked for what no sane strategy asks for. The seat is cut when this is raised, caught or not."""


class LimitsError(HotpathError):
    """A limit that there is not, a value that it cannot have, or limits that cannot be trusted."""

    exit_code = 65


class StaleVersionError(LimitsError):
    """The limits are no longer at the version that a change was based on."""

    exit_code = 75


class VenueError(HotpathError):
    """The venue cannot be reached or refuses the session."""

    exit_code = 69


class StageError(HotpathError):
    """A stage failed, or did not start or stop in time."""

    exit_code = 70


class RecoveryError(StageError):
    """A dead stage's state cannot be made again, or what was made again differs from what the stage did."""

    exit_code = 76
