"""Leases: who works on what, without a coordinator and without comparing clocks.

    <study>/leases/<name>/<generation>      "<owner> <beat>", or "free"

The highest generation counts, and it is made by `Store.create`, which one caller wins. A holder changes its beat; who
sees the same beat for longer than the time to live, on its own monotonic clock, makes the next generation. A driver
that was frozen finds that generation when it wakes, and has lost the lease.
"""

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from orchestrator.errors import StorageFailed
from orchestrator.storage.store import Store

FREE: Final = b"free"
TTL_S: Final = 60.0
LOOKS_PER_TTL: Final = 12
"""How often a lease of another is looked at: each look is a request to the storage."""


@dataclass
class _Seen:
    """A lease of another: what it held, since when, and when it was last looked at."""

    generation: int
    content: bytes
    since: float
    looked: float


class Leases:
    """The leases of one driver. `owner` is unique among drivers; `clock` counts seconds."""

    def __init__(
        self, store: Store, study: str, owner: str, ttl_s: float = TTL_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.ttl_s = ttl_s
        self._store, self._study, self._owner, self._clock = store, study, owner, clock
        self._held: dict[str, int] = {}
        self._seen: dict[str, _Seen] = {}
        self._beat = 0
        self._renewed = clock()

    @contextlib.contextmanager
    def renewed(self) -> Iterator[None]:
        """Renew in a thread, and let others have everything at the end."""
        stop = threading.Event()

        def beat() -> None:
            while not stop.wait(self.ttl_s / 4):
                with contextlib.suppress(StorageFailed):  # a commit raises it; here it costs double work at most
                    self.renew()

        thread = threading.Thread(target=beat, name="leases", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            with contextlib.suppress(StorageFailed):  # what nobody releases expires
                self.release_all()

    def held(self) -> frozenset[str]:
        """Names that this driver holds, as far as it knows."""
        return frozenset(self._held)

    def hold(self, name: str) -> bool:
        """Whether this driver holds the lease, which it takes when it is free or its holder is gone."""
        if name in self._held and self._clock() - self._renewed > self.ttl_s:
            self.renew()  # this driver was frozen: others may have thought it gone
        if name in self._held:
            return True
        now, seen = self._clock(), self._seen.get(name)
        if seen is not None and now - seen.looked < self.ttl_s / LOOKS_PER_TTL:
            return False
        generation = self._last(name)
        if generation is not None:
            content = self._store.get(self._key(name, generation)) or FREE
            if seen is None or (seen.generation, seen.content) != (generation, content):
                seen = _Seen(generation, content, now, now)
            self._seen[name] = _Seen(generation, content, seen.since, now)
            if content != FREE and now - seen.since <= self.ttl_s:
                return False
        following = 0 if generation is None else generation + 1
        if not self._store.create(self._key(name, following), self._content()):
            return False
        self._held[name] = following
        self._seen.pop(name, None)
        return True

    def renew(self) -> None:
        """Show that this driver is alive, and forget the leases that others took over."""
        self._beat += 1
        for name, generation in list(self._held.items()):
            if self._last(name) == generation:
                self._store.put(self._key(name, generation), self._content())
            else:
                self._held.pop(name, None)
        self._renewed = self._clock()

    def release(self, name: str) -> None:
        """Let others have it at once."""
        generation = self._held.pop(name, None)
        if generation is not None:
            self._store.put(self._key(name, generation), FREE)

    def release_all(self) -> None:
        """Let others have everything at once."""
        for name in list(self._held):
            self.release(name)

    def _content(self) -> bytes:
        return f"{self._owner} {self._beat}".encode()

    def _folder(self, name: str) -> str:
        return f"{self._study}/leases/{hashlib.blake2b(name.encode(), digest_size=8).hexdigest()}/"

    def _key(self, name: str, generation: int) -> str:
        return f"{self._folder(name)}{generation:08d}"

    def _last(self, name: str) -> int | None:
        keys = self._store.keys(self._folder(name))
        return int(keys[-1].rsplit("/", 1)[1]) if keys else None
