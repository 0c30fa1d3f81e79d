"""Decoded films by the content that they were made from: the last used ones, up to so many bytes, for all visitors."""

import threading
from collections import OrderedDict
from typing import Any


class HeldFilms:
    """A cache whose films weigh `limit` bytes at most: a limit on their number would either thrash or fill the memory."""

    def __init__(self, limit: int) -> None:
        self.limit, self.bytes = limit, 0
        self._films: OrderedDict[object, tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: object) -> Any | None:
        """The film of a key; None where it is not held."""
        with self._lock:
            if key not in self._films:
                return None
            self._films.move_to_end(key)
            return self._films[key][0]

    def put(self, key: object, film: Any, size: int) -> None:
        """Hold a film, and drop those that were not used for longest; one above the limit is not held."""
        with self._lock:
            self.bytes -= self._films.pop(key, (None, 0))[1]
            self._films[key] = film, size
            self.bytes += size
            while self.bytes > self.limit:
                _, (_, freed) = self._films.popitem(last=False)
                self.bytes -= freed
