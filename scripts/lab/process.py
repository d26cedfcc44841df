"""A program that runs in the background on a host of the laboratory."""

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from signal import SIGTERM

from .waiting import wait_until


@dataclass(frozen=True)
class Place:
    """What a program is given by where it runs: a name, a path that its two files begin with, and
    whom to tell that it was started and has to be ended some day."""

    name: str
    files: Path
    register: Callable[["Process"], None]


class Process:
    """A command that was started. Its output goes to two files, where it can be read at any time.
    Whoever it registers with ends it if nobody else does. env is added to this program's own
    environment."""

    def __init__(self, command: list[str], place: Place, env: dict[str, str] | None = None):
        self.command = command
        self.name = place.name
        files = place.files
        self._output = files.with_suffix(".output")
        self._errors = files.with_suffix(".errors")
        with open(self._output, "wb") as output, open(self._errors, "wb") as errors:
            # A session of its own: Ctrl-C is for the laboratory, which ends its programs itself.
            self._popen = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors,
                env=None if env is None else {**os.environ, **env}, start_new_session=True)
        place.register(self)

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def alive(self) -> bool:
        return self._popen.poll() is None

    def output(self) -> str:
        return self._output.read_text(errors="replace")

    def errors(self) -> str:
        return self._errors.read_text(errors="replace")

    def wait(self, timeout: float = 60) -> int:
        """Wait for the end and return the exit status, negative for a signal."""
        try:
            return self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"{self.name} did not end within {timeout} s\n"
                               + self.everything()) from None

    def expect(self, text: str, timeout: float = 10, stream: str = "errors",
               occurrence: int = 1) -> None:
        """Wait until the text stands in the stream ("errors" or "output") that many times."""
        read = {"errors": self.errors, "output": self.output}[stream]

        def there() -> bool:
            ended = not self.alive  # asked before reading: what it wrote last still counts
            if read().count(text) >= occurrence:
                return True
            if ended:
                raise RuntimeError(f"{self.name} ended with status {self._popen.returncode} "
                                   f"before it said {text!r}\n" + self.everything())
            return False

        try:
            wait_until(there, timeout)
        except TimeoutError:
            raise TimeoutError(f"{self.name} did not say {text!r} within {timeout} s\n"
                               + self.everything()) from None

    def signal(self, sig: int) -> None:
        self._popen.send_signal(sig)

    def stop(self, sig: int = SIGTERM, timeout: float = 10) -> int:
        """End it with a signal and return its exit status; one that does not end is killed."""
        self.signal(sig)
        try:
            return self.wait(timeout)
        except TimeoutError:
            self._popen.kill()
            self._popen.wait()
            raise

    def cpu_seconds(self) -> tuple[float, float]:
        """Processor time so far, of all its threads: (user, system)."""
        stat = Path(f"/proc/{self.pid}/stat").read_text()
        after_name = stat.rpartition(")")[2].split()
        tick = os.sysconf("SC_CLK_TCK")
        return int(after_name[11]) / tick, int(after_name[12]) / tick

    def times_slept(self) -> int:
        """How often its threads were put to sleep so far (voluntary context switches)."""
        return sum(
            int(line.split()[1])
            for status in Path(f"/proc/{self.pid}/task").glob("*/status")
            for line in status.read_text().splitlines()
            if line.startswith("voluntary_ctxt_switches"))

    def rss(self) -> int:
        """Resident memory in bytes."""
        pages = Path(f"/proc/{self.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def everything(self) -> str:
        """The command and all that it wrote, for error messages."""
        return (f"command: {' '.join(self.command)}\n"
                f"--- standard output\n{self.output()}--- standard error\n{self.errors()}")
