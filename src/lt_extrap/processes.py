"""The processes of a run, one a device: they begin together, and end together."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import torch.distributed as dist
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch.distributed import DistNetworkError, PrefixStore, Store, TCPStore  # type: ignore[attr-defined]

from lt_extrap import errors
from lt_extrap.errors import ConfigError, LtExtrapError, RunError, TrainingError
from lt_extrap.signals import Stopped

_HERE, _BEGIN, _END, _LEFT = "here", "begin", "end", "left"  # what they tell one another
_LOOK = 0.3  # seconds between two looks for a word
_COME = 600.0  # seconds that all have to come: each imports for a while, from a file system that others read too
_GRACE = 10.0  # seconds that the first has to end by itself when another one has failed


def environment() -> ClusterEnvironment:
    """Who started this process: torchrun, or a run that needs it; srun, with several tasks; or just somebody.

    With requeueing of its own, Lightning would answer Slurm's signals with a checkpoint that later tests load.
    """
    if "RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return TorchElasticEnvironment()
    if int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1:  # of srun; a batch script has SLURM_NTASKS
        return SLURMEnvironment(auto_requeue=False)
    return LightningEnvironment()


def started_together() -> bool:
    """Whether something else than a run has started this process and others beside it."""
    return not isinstance(environment(), LightningEnvironment)


@contextmanager
def one_voice() -> Iterator[None]:
    """Let the first process alone say why a command ends; the others end with the same status."""
    try:
        yield
    except SystemExit as end:
        if isinstance(end.code, str) and started_together() and environment().global_rank() > 0:
            raise SystemExit(1) from None
        raise


class Processes:
    """The processes of a run: this one, and how it hears of the others.

    A context. Where nothing else has started them, the first starts the others, when it has the run folder; they get
    its configuration, not its command, so that a job of a sweep may have several. Only the first writes and prints,
    and the others begin at its word. Whichever fails ends all: the first raises the error, as its own, and the others
    end silently. None waits for ever for one that has gone.

    Args:
        devices: of a node.
        nodes: machines.
        device: what each computes on: `cpu`, `cuda` ...

    Attributes:
        count: of them all.
        rank: of this one, from 0.

    Raises:
        ConfigError: others have been started than these, or there are several nodes and nobody has started any.
        TrainingError: on entry, not all have come.
        RunError: the first cannot listen at the place at which they are to meet.
    """

    def __init__(self, *, devices: int, nodes: int, device: str) -> None:
        self.count, self.rank, self._device = devices * nodes, 0, device
        self._others: list[subprocess.Popen[bytes]] = []
        self._store: Store | None = None
        self._began = False
        self._over = threading.Event()
        where = environment()
        self._started = started_together()
        if self._started:
            self.rank = where.global_rank()
            if where.world_size() != self.count:
                raise ConfigError(
                    f"as many processes as devices, trainer.devices x trainer.num_nodes = {self.count}",
                    f"{where.world_size()}, started by {type(where).__name__.removesuffix('Environment')}",
                    f"set trainer.devices to the processes of a node, or start {self.count}",
                )
        elif nodes > 1:
            raise ConfigError(
                "processes that srun or torchrun has started, for more than one node",
                f"trainer.num_nodes={nodes} and a process by itself",
                "start this command by srun or by torchrun, a process a device",
            )

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and prints."""
        return self.rank == 0

    @property
    def strategy(self) -> DDPStrategy | Literal["auto"]:
        """How Lightning trains with them.

        Buffers stay with their process: training reads none that it changes, and `from_first` (agreement.py) is called
        before a validation, which does.
        """
        return DDPStrategy(broadcast_buffers=False) if self.count > 1 else "auto"

    def __enter__(self) -> "Processes":
        if self._started:
            store = _met(holds=self.first)
            try:
                self._join(store)
            except BaseException:
                if self._store is not None:
                    self._leave()
                raise
        return self

    def wait(self) -> Path | None:
        """Wait, in all but the first, until the first has the run folder.

        Returns:
            The checkpoint to go on from; None in the first, which finds out.
        """
        if self.first or self._store is None:
            return None
        while not self._store.check([_BEGIN]):
            time.sleep(_LOOK)
        checkpoint = json.loads(self._store.get(_BEGIN))
        return Path(checkpoint) if checkpoint else None

    def begin(self, order: Mapping[str, Any], checkpoint: Path | None) -> None:
        """Let the others begin, of whom the first starts those that nobody has.

        Args:
            order: what `lt_extrap.sibling` wants to know of the run.
            checkpoint: to go on from.
        """
        if self.count == 1:
            return
        if not self._started:
            self._join(self._start(order))
        assert self._store is not None
        self._store.set(_BEGIN, json.dumps(checkpoint and str(checkpoint)))
        self._began = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._store is None:
            self._stop_others()
            return
        heard: dict[str, Any] | None = None
        try:
            if error is None and (self._began or not self.first):
                try:
                    dist.barrier()
                except RuntimeError as failure:
                    error = failure
            mine = _in_our_words(error)
            if mine is not None or not self._began:
                heard = self._tell(_said(mine) | {"rank": self.rank}, late=not isinstance(error, LtExtrapError))
        finally:
            self._leave()
        if heard is not None and heard["rank"] != self.rank:
            raise self._end(heard) from error
        if mine is not error:
            assert mine is not None
            raise mine from error
        if error is not None and kind is None:
            raise error

    def _start(self, order: Mapping[str, Any]) -> Store:
        place = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # of a port that nobody has
        # As torchrun says it, for this process until the run has ended.
        words = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(place.port), "WORLD_SIZE": str(self.count)}
        self._before = {key: os.environ.get(key) for key in (*words, "RANK", "LOCAL_RANK")}
        os.environ.update(words, RANK="0", LOCAL_RANK="0")
        for rank in range(1, self.count):
            other = subprocess.Popen(
                [sys.executable, "-m", "lt_extrap.sibling"],
                env={**os.environ, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                stdin=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is for the first, which tells the others
            )
            self._others.append(other)
            assert other.stdin is not None
            other.stdin.write(json.dumps(order).encode() + b"\n")
            other.stdin.flush()  # and it stays open: where it closes, the first has gone
        return _of_this_start(place)

    def _join(self, store: Store) -> None:
        self._store = store
        threading.Thread(target=self._watch, name="watch", daemon=True).start()
        here, until = self._store.add(_HERE, 1), time.monotonic() + _COME
        while here < self.count:  # torch would wait for one that has failed to start
            if self._store.check([_END]):
                raise self._end(json.loads(self._store.get(_END)))
            if time.monotonic() > until:
                raise TrainingError(
                    f"{self.count} processes",
                    f"{here} after {_COME / 60:.0f} minutes",
                    "look for the last words of the others; srun --kill-on-bad-exit=1 ends all with any of them",
                )
            time.sleep(_LOOK / 5)
            here = self._store.add(_HERE, 0)
        # What is on no device goes through gloo, and nothing on the device waits for it. A store of its own, for torch
        # waits in it, and those who wait there keep others from it.
        own = {self._device: dist.get_default_backend_for_device(self._device)}
        backend = ",".join(f"{device}:{name}" for device, name in ({"cpu": "gloo"} | own).items())
        dist.init_process_group(backend, store=_met(holds=False), rank=self.rank, world_size=self.count)

    def _watch(self) -> None:
        """Look for the end of another one, since a process that waits for it on its device does not."""
        store = self._store
        assert store is not None
        while not self._over.wait(_LOOK):
            heard: dict[str, Any] = {"rank": 0, "status": 1}  # the first has gone without a word
            with suppress(RuntimeError):
                if not store.check([_END]):
                    self._mourn()
                    continue
                heard = json.loads(store.get(_END))
            if heard["rank"] == self.rank or (self.first and self._over.wait(_GRACE)):
                return
            if self.first:
                print(self._end(heard), file=sys.stderr)
            with suppress(RuntimeError):
                store.add(_LEFT, 1)
            sys.stdout.flush()
            sys.stderr.flush()
            self._stop_others()
            os._exit(heard["status"])

    def _mourn(self) -> None:
        """Speak for one that has gone without a word."""
        for rank, other in enumerate(self._others, 1):
            if other.poll():
                error = TrainingError(
                    "all processes to go on",
                    f"process {rank} ended with status {other.returncode}"
                    + (", as where memory runs out" if other.returncode == -9 else ""),
                    "look for its last words above; the same command goes on from the last checkpoint",
                )
                self._tell(_said(error) | {"rank": rank})

    def _tell(self, mine: Mapping[str, Any], *, late: bool = False) -> dict[str, Any]:
        """Say why this one ends.

        Args:
            mine: the reason.
            late: it may be what the end of another one has caused, whose word then comes within seconds.

        Returns:
            The reason that was told first.
        """
        assert self._store is not None
        try:
            until = time.monotonic() + (5 * _LOOK if late else 0)
            while time.monotonic() < until and not self._store.check([_END]):
                time.sleep(_LOOK / 5)
            told: dict[str, Any] = json.loads(self._store.compare_set(_END, "", json.dumps(mine)))
        except RuntimeError:  # the store has gone, and with it the first
            return {"rank": 0, "status": 1}
        return told

    def _end(self, heard: Mapping[str, Any]) -> BaseException:
        """What the end of another one is here."""
        if not self.first:
            return SystemExit(heard["status"])
        if "signal" in heard:
            return Stopped(heard["signal"])
        kind, *words = heard["error"]
        error: LtExtrapError = getattr(errors, kind)(*words)
        return error

    def _leave(self) -> None:
        """Go when the others have gone, for the first holds what they speak through."""
        assert self._store is not None
        if not self._began:
            self._stop_others()
        until = time.monotonic() + _GRACE
        if not self.first:
            self._over.set()  # the first goes as soon as it hears, and what has gone with it is no failure
        with suppress(RuntimeError):
            left = self._store.add(_LEFT, 1)
            while self.first and left < self.count and time.monotonic() < until:
                if not self._started and all(other.poll() is not None for other in self._others):
                    break
                time.sleep(_LOOK / 5)
                left = self._store.add(_LEFT, 0)
        if dist.is_initialized():
            dist.destroy_process_group()
        self._over.set()
        self._store = None
        self._stop_others()

    def _stop_others(self) -> None:
        """See those off whom this one has started: at once, if they have not begun, and have nothing to end."""
        until = time.monotonic() + (_GRACE if self._began else 0)
        for other in self._others:
            with suppress(subprocess.TimeoutExpired):
                other.wait(max(0, until - time.monotonic()))
            other.kill()
            other.wait()
            assert other.stdin is not None
            other.stdin.close()
        if self._others:
            self._others = []
            for key, value in self._before.items():
                os.environ.pop(key, None) if value is None else os.environ.update({key: value})


def _met(*, holds: bool) -> Store:
    """The store at the place that whoever started the processes has named.

    Args:
        holds: this process does, unless torchrun does.

    Raises:
        RunError: it cannot.
    """
    where = environment()
    host, port = where.main_address, where.main_port
    holds = holds and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    try:
        return _of_this_start(TCPStore(host, port, is_master=holds, wait_for_workers=False))
    except DistNetworkError as error:
        raise RunError(
            f"a place at which the processes can meet, {host}:{port}",
            " ".join(str(error).split()),
            "set MASTER_ADDR to the host of the first process and MASTER_PORT to a port that no other run has there",
        ) from error


def _of_this_start(store: TCPStore) -> Store:
    """A store of torchrun outlives those it starts again, which must not hear the last words of those before."""
    return PrefixStore(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), store)


def _in_our_words(error: BaseException | None) -> BaseException | None:
    """The error, unless it is what torch says where another process has gone; gloo has no class of its own for that."""
    if isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo/transport/" in str(error)):
        return TrainingError(
            "all processes to go on",
            f"one that has gone without a word: {str(error).splitlines()[0]}",
            "look for its last words, and for what srun or torchrun say of it, such as the end of its memory; the same "
            "command goes on from the last checkpoint",
        )
    return error


def _said(error: BaseException | None) -> dict[str, Any]:
    """An end in words that another process can take for its own."""
    if isinstance(error, Stopped):
        return {"status": error.code, "signal": error.number}
    if isinstance(error, LtExtrapError):
        return {"status": 1, "error": [type(error).__name__, *error.args]}
    if error is None:
        return {"status": 0}
    words = ("every process to go on", f"{type(error).__name__}: {error}", "look for the traceback of that process")
    return {"status": 1, "error": ["TrainingError", *words]}
