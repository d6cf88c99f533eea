"""The packages that hotpath is compared with: what each is called, and which page says how to configure it."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib import metadata

STANDARD = "Python"


@dataclass(frozen=True)
class Package:
    """A distribution on the public index; `page` is the documentation that its configuration here follows."""

    name: str
    page: str

    @property
    def version(self) -> str:
        """As installed; empty when it is not."""
        if self.name == STANDARD:
            return platform.python_version()
        try:
            return metadata.version(self.name)
        except metadata.PackageNotFoundError:
            return ""

    @property
    def missing(self) -> str:
        """What is missing and how to get it; empty when it is there."""
        return "" if self.version else f"{self.name} is not installed (pip install '{self.name}')"


PYTHON = Package(STANDARD, "docs.python.org/3/library/multiprocessing.html")
PACKAGES = {
    each.name: each
    for each in (
        PYTHON,
        Package(
            "pyzmq",
            "pyzmq.readthedocs.io, and zguide.zeromq.org chapter 2: exclusive pairs; no zero-copy for short messages",
        ),
        Package("posix-ipc", "semanchuk.com/philip/posix_ipc"),
        Package("iceoryx2", "ekxide.github.io/iceoryx2-book, examples/python/publish_subscribe"),
        Package("kickmsg", "pypi.org/project/kickmsg: zero-copy receive"),
        Package("cloudtoid-interprocess", "cloudtoid.com/docs/python"),
        Package("slick-queue-py", "pypi.org/project/slick-queue-py: traits, 'for maximum throughput'"),
        Package("subetha-ipc", "pypi.org/project/subetha-ipc: SpscRing, 'what it costs'"),
        Package("nautilus-trader", "nautilustrader.io/docs/latest: concepts/backtesting, low-level API; concepts/live"),
        Package(
            "hftbacktest",
            "hftbacktest.readthedocs.io: data, latency models, order fill; its ROI vector book",
        ),
        Package("itch-book", "pypi.org/project/itch-book: Feed.batches"),
        Package("itchfeed", "pypi.org/project/itchfeed: MessageParser.parse_file"),
        Package("itchcpp", "pypi.org/project/itchfeed: its native backend, used when it is installed"),
        Package("TA-Lib", "ta-lib.github.io/ta-lib-python: Function API, Streaming API"),
        Package("numba", "numba.readthedocs.io: performance tips"),
        Package("talipp", "nardew.github.io/talipp"),
    )
}
