"""Waiting for state of the kernel or of a program that announces itself by no event."""

import time
from collections.abc import Callable

INTERVAL = 0.02


def wait_until(predicate: Callable[[], object], timeout: float = 10, what: str = "") -> object:
    """Wait until predicate() is true and return its value; TimeoutError(what) if it never is."""
    end = time.monotonic() + timeout
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() >= end:
            raise TimeoutError(what or f"{predicate} was not true within {timeout} s")
        time.sleep(INTERVAL)
