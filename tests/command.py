"""Commands in processes of their own, forked from this one, which spares each the seconds of imports."""

import os
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.context import ForkProcess
from pathlib import Path

LONGEST = 300  # seconds; a command that hangs ends then


@dataclass(frozen=True)
class Command:
    """A command under way, the first process of its group.

    Attributes:
        process: it.
        log: what it prints, on either stream.
    """

    process: ForkProcess
    log: Path

    @property
    def said(self) -> str:
        """What it has printed so far."""
        return self.log.read_text()

    def send_signal(self, number: int) -> None:
        """Send a signal to it alone."""
        os.kill(self._pid, number)

    def tell(self, number: int) -> None:
        """Send a signal to it and its workers, as a terminal does."""
        os.killpg(self._pid, number)

    def ended(self) -> bool:
        """Whether it has ended."""
        return self.process.exitcode is not None

    def status(self) -> int:
        """Wait for its end."""
        self.process.join()
        assert self.process.exitcode is not None
        return self.process.exitcode

    @property
    def _pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid


def begin(main: Callable[[], object], *words: str, log: Path, cwd: Path | None = None, **environment: str) -> Command:
    """Begin a command with these words."""
    log.touch()
    process = get_context("fork").Process(target=_run, args=(main, words, log, cwd or Path(), environment))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12: other threads wait
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # until the command begins, `_run`
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert process.pid is not None
    os.setpgid(process.pid, process.pid)  # which the child does too: whoever is first
    return Command(process, log)


def run(main: Callable[[], object], *words: str, cwd: Path, **environment: str) -> tuple[int, str]:
    """The status of a command, and what it printed."""
    command = begin(main, *words, log=cwd.with_name(f"{cwd.name}.log"), cwd=cwd, **environment)
    return command.status(), command.said


def interpreted(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """As `run`, by an interpreter of its own (python -m): whatever any library says is in what it printed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    line = [sys.executable, "-m", *words]
    return subprocess.run(line, cwd=cwd, env=environment, capture_output=True, text=True, timeout=LONGEST, check=False)


def _run(
    main: Callable[[], object], words: tuple[str, ...], log: Path, cwd: Path, environment: Mapping[str, str]
) -> None:
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.alarm(LONGEST)
    os.environ.update(environment)
    tempfile.tempdir = None  # which was found before there was this environment
    file = log.open("w", buffering=1)
    os.dup2(file.fileno(), 1)
    os.dup2(file.fileno(), 2)
    sys.stdout = sys.stderr = file
    sys.argv = [getattr(main, "__module__", "__main__"), *words]
    os.chdir(cwd)
    if signal.SIGINT in signal.sigpending():  # it came before the command has begun
        sys.exit(128 + signal.SIGINT)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    try:
        main()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # what follows is multiprocessing's
