"""Webhooks: each line of the audit log that tells of something done is posted, signed, to one address.

    POST url   X-Hotctl-Time: seconds since 1970   X-Hotctl-Signature: sha256=HMAC-SHA256(secret, time + "." + body)

A queue and a thread of its own: an address that does not answer holds up nothing, and loses lines once the queue is
full; the audit log has them all.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import queue
import threading
import time
import urllib.request

import msgspec

from hotctl.audit import Record
from hotpath.config_control import WebhookConfig
from hotpath.errors import ConfigError

QUEUE_MAX = 1000
TRIES = 3
ATTEMPT_HEADERS = {"Content-Type": "application/json", "User-Agent": "hotctl"}


def signature(secret: bytes, at: str, body: bytes) -> str:
    """What the receiver computes again: with the time in it, an old message is not good for ever."""
    return "sha256=" + hmac.new(secret, at.encode() + b"." + body, hashlib.sha256).hexdigest()


class Webhook:
    """Told of lines, it posts them."""

    def __init__(self, config: WebhookConfig, *, engine: str) -> None:
        """Raises ConfigError when the secret is missing."""
        self._config = config
        self._engine = engine
        self.dropped = 0
        self._secret = b""
        self._queue: queue.Queue[Record | None] = queue.Queue(QUEUE_MAX)
        self._thread = threading.Thread(target=self._run, name="webhook", daemon=True)
        if not config.url:
            return
        if not config.url.startswith(("https://", "http://127.0.0.1", "http://localhost")):
            raise ConfigError(f"control.webhook.url: {config.url}: https, or this host")
        self._secret = os.environ.get(config.secret_env, "").encode() if config.secret_env else b""
        if not self._secret:
            raise ConfigError(
                "control.webhook.secret_env: a webhook is signed",
                next_step="name an environment variable that holds a secret which the receiver knows",
            )
        self._thread.start()

    def tell(self, record: Record) -> None:
        """Have a line posted; never waits."""
        if not self._config.url:
            return
        try:
            self._queue.put_nowait(record)
        except queue.Full:
            self.dropped += 1

    def close(self) -> None:
        """Post what is queued, for as long as one post may take."""
        if self._thread.is_alive():
            try:
                self._queue.put_nowait(None)
            except queue.Full:
                return
            self._thread.join(self._config.timeout_ms / 1000)

    def _run(self) -> None:
        while (record := self._queue.get()) is not None:
            for attempt in range(TRIES):
                if self._post(record):
                    break
                time.sleep(0.2 * 2**attempt)
            else:
                self.dropped += 1

    def _post(self, record: Record) -> bool:
        fields = msgspec.to_builtins(record)
        fields["detail"] = {k: v for k, v in fields["detail"].items() if k not in ("request", "response", "token")}
        body = msgspec.json.encode({"engine": self._engine, **fields})
        at = str(int(time.time()))
        headers = {**ATTEMPT_HEADERS, "X-Hotctl-Time": at, "X-Hotctl-Signature": signature(self._secret, at, body)}
        request = urllib.request.Request(self._config.url, data=body, headers=headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=self._config.timeout_ms / 1000) as answer:
                return 200 <= int(answer.status) < 300
        except OSError:
            return False
