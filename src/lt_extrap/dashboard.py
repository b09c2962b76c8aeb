"""The run on Weights & Biases: charts by step, configuration, results and tables; never at the expense of the run."""

import json
import logging
import os
import shlex
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any, Literal, TypeVar

from lightning.pytorch.loggers import Logger

from lt_extrap import transaction_log
from lt_extrap.gains import GAINS
from lt_extrap.run_name import component_of, row_of
from lt_extrap.runs import CONFUSIONS, PER_CLASS, RUN, read_json, read_table
from lt_extrap.signals import Stopped

STEP = "trainer/global_step"
ROW, COMPONENT = "row", "component"  # what W&B is told of the name of the run folder, to group runs by

# Seconds that W&B may take to begin, for a call, and to end; online it waits for the network that long.
_BEGIN, _CALL, _END = 20.0, 10.0, 60.0
_CONFUSIONS = 10  # rows of their table

T = TypeVar("T")


class Dashboard(Logger):
    """A Lightning logger for one W&B run a run folder, in as many parts as the run has starts.

    Lightning's WandbLogger is not used: with it a failure of W&B ends the training, a run that goes on repeats points
    or loses some, and the next job of a sweep writes into the run of the one before.

    W&B writes its file every 15 seconds, and loses what it has not written when the process is killed. So the points
    are kept in a file of our own as well, a row a line, and row n of it is step n of W&B. A run that goes on first
    sends the rows that W&B's files lack; then training adds, for each key, the points behind its last one.

    Every call of W&B has a limit of time. The first that fails is told in a line, and is the last one.

    Args:
        save_dir: the run folder, which holds run.json and takes everything that W&B writes.
        offline: write to the run folder only, for a later `wandb sync`.
        project: of the W&B run.
        entity: of the W&B run; null = the account's own.
        group: of the W&B run.
    """

    def __init__(
        self,
        save_dir: str,
        *,
        offline: bool = True,
        project: str = "lt_extrap",
        entity: str | None = None,
        group: str | None = None,
    ) -> None:
        super().__init__()
        self.folder, self.offline = Path(save_dir), offline
        self.project, self.entity, self.group = project, entity, group
        self.id: str = read_json(self.folder / RUN)["id"]
        self._wandb = self.folder / "wandb"
        self._points = self._wandb / f"points-{self.id}.jsonl"
        self._keeps = True  # points in that file
        self._rows, self._last = 0, dict[str, int]()
        self._run: Any = None  # a wandb.Run, while W&B works
        self._lost = False
        self._replaced: dict[str, str | None] = {}
        self._hooks = sys.exit, sys.excepthook
        if os.environ.get("WANDB_MODE") == "disabled":
            self._lost = True  # as it was asked for
            return
        try:
            self._begin()
        except Exception as error:  # W&B's own, the disk's, and those of a file that is not what it should be
            self._lose("begin", error)
        except BaseException:  # told to stop in the meantime
            self._release()
            raise

    @property
    def name(self) -> str:
        return self.project

    @property
    def version(self) -> str:
        return self.id

    @property
    def save_dir(self) -> str:
        return str(self.folder)

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Show the configuration, nested as it is, and what the run's folder says: its row and its component."""
        row = row_of(self.folder.name)
        names = {ROW: f"{self.folder.resolve().parent.name}/{row}", COMPONENT: component_of(row)}

        def update(run: Any) -> None:
            run.config.update(params, allow_val_change=True)
            run.config.update(names, allow_val_change=True)

        self._attempt("take the configuration", update)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add points to the charts, except for those that are there.

        What is measured at the end is in the summary; it makes no charts of one point.
        """
        assert step is not None  # Lightning always gives it
        row = {
            key: float(value)
            for key, value in metrics.items()
            if not key.startswith("test") and step > self._last.get(key, -1)
        }
        if row.keys() <= {"epoch"}:
            return
        row[STEP] = step
        self._last.update(dict.fromkeys(row, step))
        self._keep(row)
        self._send(row)

    def log_picture(self, name: str, file: Path, step: int) -> None:
        """Show a picture. It takes a row of its own, of which the file of points keeps the step alone."""
        self._keep({STEP: step})

        def show(run: Any) -> None:
            import wandb

            run.log({name: wandb.Image(str(file)), STEP: step}, step=self._rows, commit=True)

        self._attempt("take a picture", show)
        self._rows += 1

    def log_results(self, results: Mapping[str, Any]) -> None:
        """Show results.json as the summary, and the tables of the run folder.

        Args:
            results: the content of results.json.
        """
        summary: dict[str, Any] = {}
        for key, content in results.items():
            if isinstance(content, Mapping):
                summary |= {f"{key}/{name}": value for name, value in content.items()}
            else:
                summary[key] = content
        self._attempt("take the results", lambda run: run.summary.update(summary))
        if (self.folder / PER_CLASS).is_file():  # of a classifier
            self._attempt("take the tables", self._log_tables)

    def __enter__(self) -> "Dashboard":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> Literal[False]:
        """End the W&B run as the run ended: finished, failed, or preempted where it was told to stop."""
        code: Any = error.code if isinstance(error, Stopped) else int(error is not None)
        if isinstance(error, Stopped):
            self._attempt("take the interruption", lambda run: run.mark_preempting())
        begun = self._run is not None
        try:  # whatever failed before: a run without its end counts as crashed
            if begun:
                _within(_CALL if self.offline else _CALL + _END, lambda: self._run.finish(exit_code=code))
        except Exception as broken:
            self._lose("end in time", broken)
        self._release()
        try:
            if begun and not self._lost:
                self._check()
            if begun and not (self._lost and self.offline):
                _say(self._where())
        except Exception as broken:  # of a file that is not what it should be, or W&B's own
            self._lose("say what it has", broken)
        return False

    def _begin(self) -> None:
        """Open a part of the W&B run, and send what the parts before it lack."""
        self._wandb.mkdir(exist_ok=True)
        rows, sent = self._kept(), transaction_log.history(self._wandb, self.id)
        if not self.offline:
            try:
                self._run = _within(2 * _BEGIN, lambda: self._open("online"))
            except Exception as error:
                _say(f"cannot be reached, so this run stays offline ({_reason(error)})")
                self._release()
                self.offline = True
        if self.offline:
            self._run = _within(2 * _BEGIN, lambda: self._open("offline"))
        self._rows = sent
        for row in rows[sent:]:
            self._send(row)

    def _kept(self) -> list[dict[str, float]]:
        """The rows of the starts before this one; a kill may have left half of one, which goes."""
        if not self._points.exists():
            return []
        content = self._points.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            os.truncate(self._points, len(whole))
        rows = [json.loads(line) for line in whole.splitlines()]
        for row in rows:
            self._last.update(dict.fromkeys(row, row[STEP]))
        return rows

    def _open(self, mode: Literal["online", "offline"]) -> Any:
        for key, value in {
            "WANDB_CACHE_DIR": str(self._wandb / "cache"),  # both else in the home folder
            "WANDB_DATA_DIR": str(self._wandb / "data"),
            "WANDB_ERROR_REPORTING": "false",  # to its makers, offline too
        }.items():
            self._replaced[key] = os.environ.get(key)
            os.environ[key] = value
        import wandb  # a second

        logging.getLogger("wandb").setLevel(logging.CRITICAL)  # its file on a full disk is a traceback a message
        wandb.setup(wandb.Settings(silent=True))
        run = wandb.init(
            project=self.project,
            entity=self.entity,
            group=self.group,
            name=self.folder.name,
            job_type="train",
            id=self.id,
            resume="allow",
            dir=str(self.folder),
            mode=mode,
            reinit="create_new",
            settings=wandb.Settings(
                silent=True,
                console="off",
                allow_offline_artifacts=False,  # tables are files of the run, which may move before its upload
                disable_git=True,  # run.json has the commit; this asks git for longer than all else takes
                init_timeout=_BEGIN,
                finish_timeout=_END,
                finish_timeout_raises=True,
            ),
        )
        run.define_metric(STEP, hidden=True)
        run.define_metric("*", step_metric=STEP)
        return run

    def _keep(self, row: Mapping[str, float]) -> None:
        try:
            if self._keeps:
                with self._points.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
        except OSError as error:
            self._keeps = False  # nor ever behind half a row
            self._lose("keep a point", error)

    def _send(self, row: Mapping[str, Any]) -> None:
        # With its number: online, W&B itself leaves out what it already has.
        self._attempt("take a point", lambda run: run.log(dict(row), step=self._rows, commit=True))
        self._rows += 1

    def _log_tables(self, run: Any) -> None:
        import wandb

        per_class = read_table(self.folder / PER_CLASS)
        tables = {"per_class": per_class}
        if (self.folder / GAINS).is_file():
            tables["gains"] = read_table(self.folder / GAINS)
            if not tables["gains"]:
                _say("no gains, since no class is recognised better than by the baseline")
        else:
            names = [row["name"] for row in per_class]
            tables["confusions"] = [
                {
                    "class": row["class"],
                    "name": names[int(row["class"])],
                    "predicted": names[int(row["predicted"])],
                    "images": row["images"],
                }
                for row in read_table(self.folder / CONFUSIONS)[:_CONFUSIONS]
            ]
        row = {
            key: wandb.Table(list(rows[0]), [[_typed(*item) for item in row.items()] for row in rows])
            for key, rows in tables.items()
            if rows
        }
        run.log(row, step=self._rows, commit=True)
        self._rows += 1

    def _check(self) -> None:
        # W&B says nothing of a full disk. Its file is whole when its process has ended.
        written = transaction_log.history(self._wandb, self.id)
        if written < self._rows:
            self._lose("keep what it was told", OSError(f"{written} of {self._rows} rows, as when the disk is full"))

    def _where(self) -> str:
        """The address of the run, or the command that uploads it: all its parts, in the order of their starts."""
        parts = sorted(self._wandb.glob(f"*run-*-{self.id}*"), key=lambda part: part.name.removeprefix("offline-"))
        if self.offline:
            command, parts = "wandb sync", [part for part in parts if part.name.startswith("offline-")]
        elif self._lost:
            command = "wandb sync --include-online"
        else:
            return str(self._run.url)
        here = Path.cwd()
        words = [str(part.relative_to(here) if part.is_relative_to(here) else part) for part in parts]
        return f"{command} {shlex.join(words)}"

    def _attempt(self, what: str, call: Callable[[Any], Any], seconds: float = _CALL) -> None:
        """Call W&B, unless it has failed before."""
        if self._lost:
            return
        try:
            _within(seconds, lambda: call(self._run))
        except Exception as error:  # whatever it is, the run is worth more
            self._lose(what, error)

    def _lose(self, what: str, error: Exception) -> None:
        if not self._lost:
            _say(f"did not {what}: {_reason(error)}; it is left alone, the run goes on, with results in {self.folder}")
        self._lost = True

    def _release(self) -> None:
        """Let go of W&B's process and undo what W&B changed in this one: the next job begins as this one did."""
        if (wandb := sys.modules.get("wandb")) is not None:
            with suppress(Exception):  # of a process that is not there any more
                _within(_CALL, wandb.teardown)
        sys.exit, sys.excepthook = self._hooks
        for key, value in self._replaced.items():
            os.environ.pop(key, None)
            if value is not None:
                os.environ[key] = value


def _within(seconds: float, call: Callable[[], T]) -> T:
    """The result of a call, or its error, or a TimeoutError while a thread of its own goes on with it."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # W&B exits, at times
            future.set_exception(error if isinstance(error, Exception) else RuntimeError(repr(error)))

    Thread(target=run, daemon=True).start()
    return future.result(timeout=seconds)


def _typed(column: str, value: str) -> Any:
    if column in ("class", "train_images", "test_images", "images", "to_auxiliary", "to_neighbors"):
        return int(value)
    if column in ("accuracy", "before", "now"):
        return float(value) if value else None
    return value


def _reason(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__


def _say(text: str) -> None:
    print(f"W&B: {text}", flush=True)
