r"""Classify images: `python -m lt_extrap.predict run=runs/demo/<run> images=photos/`.

Writes a row an image to predictions.csv and predictions.jsonl, in the order of the folder or list: path; class
(column of the classifier), name and probability (softmax over the target classes) of the likeliest; error; and the
same three of the `top` likeliest. Of an unreadable image, path and error alone. A byte of a path that is not UTF-8 is
written as `\xe9`.
"""

import codecs
import csv
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

import hydra
import torch
from hydra.core.config_store import ConfigStore
from jaxtyping import UInt8
from omegaconf import MISSING, DictConfig
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader

from lt_extrap import cli, compose, runs
from lt_extrap.config import check
from lt_extrap.data.images import ImageBatch, ImageFiles, collate_images, find_images
from lt_extrap.data.loader import leave_signals
from lt_extrap.data.transforms import EvalTransform
from lt_extrap.errors import ConfigError, DataError, RunError
from lt_extrap.files import write_whole
from lt_extrap.model.direct import DirectClassifier
from lt_extrap.paths import conf_dir


@dataclass
class PredictConfig:
    """What to classify, and by which classifier.

    Attributes:
        run: folder of a finished run, or a model.safetensors.
        images: a folder, searched with all below it; a packed folder, also by its URL; a text list, `path` or
            `path label` a line; or one image.
        root: where the relative paths of a list start, a folder, a packed folder or a URL; null = the folder of the
            list.
        output: `<output>.csv` and `<output>.jsonl` are written, and replaced if they are there.
        top: how many classes an image is given, the likeliest first; never more than there are.
        batch_size: images at once. It changes no row, but for the last digits of probabilities.
        workers: loader processes; 0 = in this process.
        device: `auto` (an accelerator if there is one, else the CPU) or a name such as cpu, cuda, cuda:1.
    """

    run: str = MISSING
    images: str = MISSING
    root: str | None = None
    output: str = "predictions"
    top: int = 5
    batch_size: int = 64
    workers: int = 2
    device: str = "auto"

    def __post_init__(self) -> None:
        check(not self.output.endswith(("/", ".")) and self.output != "", "output", "a file name", self.output)
        check(self.top >= 1, "top", "at least 1", self.top)
        check(self.batch_size >= 1, "batch_size", "at least 1", self.batch_size)
        check(self.workers >= 0, "workers", "at least 0", self.workers)


class Label(NamedTuple):
    """A class that an image may be of: its column, its name, its probability to six digits."""

    column: int
    name: str
    probability: float


@dataclass(frozen=True)
class Prediction:
    """What an image was taken for.

    Attributes:
        path: as found below the folder, or as listed.
        labels: the likeliest, the likeliest first; empty if the image could not be read.
        error: why it could not; None if it could.
    """

    path: str
    labels: tuple[Label, ...]
    error: str | None


@dataclass(frozen=True)
class Summary:
    """What a prediction did.

    Attributes:
        images: rows written. errors: how many of them could not be read.
        seconds: from the first image to the last row.
        files: what was written.
    """

    images: int
    errors: int
    seconds: float
    files: tuple[Path, Path]

    def __str__(self) -> str:
        rate = self.images / max(self.seconds, 1e-9)
        files = ", ".join(map(str, self.files))
        return f"{self.images:,} images, {self.errors:,} errors, {rate:,.0f} images/s: {files}"


def predict(config: PredictConfig) -> Summary:
    """Classify images and write a row for each; both files are replaced whole or not at all.

    Raises:
        RunError: `run` is no finished run of this version, or the rows cannot be written.
        DataError: there are no images, or none can be read.
        ConfigError: there is no such device.
    """
    direct = DirectClassifier.load(runs.weights_file(Path(config.run))).to(_device(config.device))
    paths = find_images(config.images, config.root)
    images = ImageFiles(
        paths,
        EvalTransform(size=direct.image_size, crop_fraction=direct.crop_fraction, interpolation=direct.interpolation),
    )
    top = min(config.top, len(direct.classes))
    table, lines = Path(f"{config.output}.csv"), Path(f"{config.output}.jsonl")
    began, errors = time.perf_counter(), 0

    def write(table: IO[bytes], lines: IO[bytes]) -> None:
        nonlocal errors
        writer = csv.writer(codecs.getwriter("utf-8")(table))
        writer.writerow(_header(top))
        for row in _classify(direct, images, config, top):
            errors += row.error is not None
            writer.writerow(_cells(row, top))
            lines.write(_line(row).encode() + b"\n")
        if errors == len(images):
            raise DataError(
                f"images that can be read in {config.images}",
                f"none of {errors:,}; the last is {row.path}: {row.error}",
                "correct images=, or root=<where the paths of the list start>",
            )

    try:
        write_whole(table, lambda first: write_whole(lines, lambda second: write(first, second)))
    except OSError as error:
        raise RunError(f"a place to write {table} and {lines}", str(error), "free disk, or set output=") from error
    return Summary(len(images), errors, time.perf_counter() - began, (table, lines))


def _classify(direct: DirectClassifier, images: ImageFiles, config: PredictConfig, top: int) -> Iterator[Prediction]:
    """Predictions in the order of the images."""
    loader: DataLoader[Any] = DataLoader(
        images,
        batch_size=config.batch_size,
        num_workers=config.workers,
        collate_fn=collate_images,
        worker_init_fn=leave_signals,
        pin_memory=direct.model.head.weight.device.type == "cuda",
    )
    console, position = Console(stderr=True), 0
    batches: Iterator[ImageBatch] = iter(loader)  # forks the workers, before the bar has a thread
    for batch in track(batches, "", len(loader), console=console, transient=True, disable=not console.is_terminal):
        labels = iter(_likeliest(direct, batch.images, top) if len(batch.images) else ())
        for error in batch.errors:
            path = _text(images.paths[position])
            yield Prediction(path, next(labels), None) if error is None else Prediction(path, (), _text(error))
            position += 1


def _likeliest(
    direct: DirectClassifier, images: UInt8[Tensor, "batch 3 height width"], top: int
) -> list[tuple[Label, ...]]:
    with torch.inference_mode():
        logits = direct.model(images.to(direct.model.head.weight.device, non_blocking=True))
        found = logits.softmax(dim=1).topk(top)
    return [
        tuple(Label(column, direct.classes[column], float(f"{p:.6g}")) for column, p in zip(columns, ps, strict=True))
        for columns, ps in zip(found.indices.tolist(), found.values.tolist(), strict=True)
    ]


def _text(name: str) -> str:
    r"""What UTF-8 can spell: a byte of a file name that is not UTF-8 becomes four characters, such as `\xe9`."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _header(top: int) -> list[str]:
    ranked = [f"{column}_{rank}" for rank in range(1, top + 1) for column in ("class", "name", "probability")]
    return ["path", "class", "name", "probability", "error", *ranked]


def _cells(row: Prediction, top: int) -> list[Any]:
    labels: Sequence[Sequence[Any]] = row.labels or [("", "", "")] * top
    return [row.path, *labels[0], row.error or "", *(cell for label in labels for cell in label)]


def _line(row: Prediction) -> str:
    top = [{"class": label.column, "name": label.name, "probability": label.probability} for label in row.labels]
    best: dict[str, Any] = top[0] if top else dict.fromkeys(("class", "name", "probability"))
    return json.dumps({"path": row.path, **best, "error": row.error, "top": top}, ensure_ascii=False)


def _device(name: str) -> torch.device:
    if name == "auto":
        return (torch.accelerator.is_available() and torch.accelerator.current_accelerator()) or torch.device("cpu")
    try:
        return torch.zeros(1, device=name).device
    except (RuntimeError, AssertionError) as error:  # the second where torch was built without CUDA
        raise ConfigError(
            "device to be auto, or a device that torch finds here",
            f"{name}: {str(error).splitlines()[0]}",
            "set device=auto, cpu or cuda",
        ) from error


ConfigStore.instance().store(group="schema", name="predict", node=PredictConfig)


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="predict")
def task(composed: DictConfig) -> None:
    """Hydra's entry: predict, and say how it went."""
    print(predict(compose.from_hydra(composed)))


def main() -> None:
    """The command."""
    cli.run(task)


if __name__ == "__main__":
    main()
