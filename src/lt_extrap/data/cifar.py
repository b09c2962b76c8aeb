"""CIFAR-100 with a long tail: its images as files, and the lists of a profile. Both are written once to the cache.

The profile is that of Cao et al. (2019, arXiv 1906.07413), whose code the field uses: class i of C has
int(largest * imbalance ** (-i / (C - 1))) training images, in the order of the labels.

With auxiliary classes (the extrapolation benchmark) some of the five classes of each superclass are auxiliary, and
neighbors of the others: the data set's own two levels say who is whose neighbor.
"""

import hashlib
import json
import pickle
import tarfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from PIL import Image
from rich.console import Console
from rich.progress import track
from torchvision.datasets import CIFAR100
from torchvision.datasets.utils import check_integrity

from lt_extrap.config import CifarTarget
from lt_extrap.data.lists import read_list
from lt_extrap.errors import DataError
from lt_extrap.files import write_whole_folder
from lt_extrap.keys import Stream, generator

FORMAT = 1  # of both folders: raise it when their files change


def image_folder(parent: Path) -> Path:
    """The folder of the images below `parent`, named after the checksums of what they are made of."""
    sums = [md5 for _, md5 in CIFAR100.train_list + CIFAR100.test_list]
    return parent / f"images-{_digest([FORMAT, *sums, CIFAR100.meta['md5']])}"


def write_images(folder: Path, source: Path, *, download: bool) -> None:
    """Write the 60,000 images as files that lose nothing, and lists of them all.

        train/<class>/<number>.png, test/<class>/<number>.png    number: the place in the original file
        train.txt, test.txt                                      `path label`, the label of the data set
        classes.json                                             a class a label: {"name": ..., "superclass": ...}

    The folder gets its name when it is complete. Of several processes one writes, and the others wait for it.

    Args:
        folder: see `image_folder`.
        source: the folder of cifar-100-python.tar.gz or cifar-100-python/.
        download: fetch the archive if neither is there.

    Raises:
        DataError: they are not there or damaged, or cannot be fetched.
        OSError: the folder cannot be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not folder.is_dir():
            train, test, superclasses = _read(source, download=download)
            print(f"writing the {len(train) + len(test):,} images of CIFAR-100 as files, once: {folder}")
            write_whole_folder(folder, lambda temporary: _fill_images(temporary, train, test, superclasses))


def write_lists(parent: Path, images: Path, target: CifarTarget) -> Path:
    """Write the lists of a profile into a folder below `parent` that is named after its fields and the images.

        train.txt, val.txt, test.txt, extra.txt    `path label`; extra: training images of the target that are left
        neighbors.txt                              `path label`, label = auxiliary id: all images of these classes
        neighbors.json                             "edges": every [target, auxiliary] of one superclass
        classes.json                               id (label of the data set), name and superclass of "target" and
                                                   "auxiliary"

    A list without images is not written. With one seed a smaller imbalance adds images and takes none away, and the
    validation images stay.

    Returns:
        The folder, complete; if it is there it is left as it is.

    Raises:
        OSError: it cannot be written.
    """
    fields = (target.imbalance, target.auxiliary_per_superclass, target.val_per_class, target.subset_seed)
    folder = parent / f"lists-{_digest([FORMAT, images.name, *fields])}"
    if not folder.is_dir():
        write_whole_folder(folder, lambda temporary: _fill_lists(temporary, images, target))
    return folder


def training_counts(classes: int, largest: int, imbalance: float) -> list[int]:
    """Training images of each class, largest first; never none."""
    return [max(1, int(largest * (1 / imbalance) ** (i / (classes - 1)))) for i in range(classes)]


def choose_classes(superclasses: Sequence[str], auxiliary: int, seed: int) -> tuple[list[int], list[int]]:
    """Target classes in the order of their training counts, and auxiliary classes in the order of their ids.

    Without auxiliary classes all are targets, in the order of their labels, as the field has them. With them, both
    the choice within each superclass and the order of the targets are drawn, so that shots follow no alphabet.

    Args:
        superclasses: of each class of the data set.
        auxiliary: how many of each superclass are auxiliary.
        seed: of the draws.
    """
    if auxiliary == 0:
        return list(range(len(superclasses))), []
    targets, others = list[int](), list[int]()
    for number, superclass in enumerate(sorted(set(superclasses))):
        members = [label for label, of in enumerate(superclasses) if of == superclass]
        drawn = generator(Stream.SUBSET, seed, 1, number).permutation(members).tolist()
        targets += drawn[auxiliary:]
        others += drawn[:auxiliary]
    return generator(Stream.SUBSET, seed, 2).permutation(targets).tolist(), others


def _read(source: Path, *, download: bool) -> tuple[CIFAR100, CIFAR100, list[str]]:
    """Training and test images, and the superclass of each class. torchvision fetches, unpacks and checks them."""
    archive = source / CIFAR100.filename
    try:
        unpack = download or check_integrity(archive, CIFAR100.tgz_md5)
        train, test = (CIFAR100(source, train=train, download=unpack) for train in (True, False))
        batch, meta = (_unpickle(source / CIFAR100.base_folder / name) for name in (CIFAR100.train_list[0][0], "meta"))
    except (RuntimeError, OSError, EOFError, tarfile.TarError) as error:
        # A RuntimeError is torchvision's word for a checksum that is not the known one.
        why = "not there, or damaged" if isinstance(error, RuntimeError) else f"{type(error).__name__}: {error}"
        raise DataError(
            f"CIFAR-100 in {source}: {CIFAR100.filename} or {CIFAR100.base_folder}/, and room for 350 MB",
            why,
            f"put {CIFAR100.url} there, which is all that a machine without network needs, or set target.download=true",
        ) from error
    of = dict(zip(batch["fine_labels"], batch["coarse_labels"], strict=True))
    return train, test, [meta["coarse_label_names"][of[label]] for label in range(len(train.classes))]


def _unpickle(file: Path) -> dict[str, Any]:
    """The content of a file whose checksum torchvision has compared: a pickle runs what it says."""
    with file.open("rb") as opened:
        content: dict[str, Any] = pickle.load(opened, encoding="latin1")
    return content


def _fill_images(folder: Path, train: CIFAR100, test: CIFAR100, superclasses: Sequence[str]) -> None:
    for split, images in (("train", train), ("test", test)):
        for name in images.classes:
            (folder / split / name).mkdir(parents=True)
        paths = [f"{split}/{images.classes[label]}/{i:05d}.png" for i, label in enumerate(images.targets)]
        for i in track(range(len(paths)), split, transient=True, disable=not Console().is_terminal):
            Image.fromarray(images.data[i]).save(folder / paths[i], compress_level=1)
        lines = [f"{path} {label}\n" for path, label in zip(paths, images.targets, strict=True)]
        (folder / f"{split}.txt").write_text("".join(lines), encoding="utf-8")
    classes = [
        {"name": name, "superclass": superclass} for name, superclass in zip(train.classes, superclasses, strict=True)
    ]
    _write_json(folder / "classes.json", classes)


def _fill_lists(folder: Path, images: Path, target: CifarTarget) -> None:
    train, test = read_list(images / "train.txt"), read_list(images / "test.txt")
    classes = json.loads((images / "classes.json").read_text(encoding="utf-8"))
    superclasses = [entry["superclass"] for entry in classes]
    targets, auxiliary = choose_classes(superclasses, target.auxiliary_per_superclass, target.subset_seed)
    val = target.val_per_class
    counts = training_counts(len(targets), int(np.bincount(train.labels).min()) - val, target.imbalance)
    lists = defaultdict[str, list[str]](list)
    for label, (original, count) in enumerate(zip(targets, counts, strict=True)):
        drawn = generator(Stream.SUBSET, target.subset_seed, 0, original).permutation(
            np.flatnonzero(train.labels == original)
        )
        parts = zip(("val", "train", "extra"), np.split(drawn, [val, val + count]), strict=True)
        for name, positions in parts:
            lists[name] += [f"{train.path(i)} {label}\n" for i in np.sort(positions)]
        lists["test"] += [f"{test.path(i)} {label}\n" for i in np.flatnonzero(test.labels == original)]
    for i, original in enumerate(auxiliary):
        lists["neighbors"] += [f"{train.path(row)} {i}\n" for row in np.flatnonzero(train.labels == original)]
    for name, lines in lists.items():
        if lines:
            (folder / f"{name}.txt").write_text("".join(lines), encoding="utf-8")
    chosen = {"target": targets, "auxiliary": auxiliary}
    tables = {key: [{"id": str(label), **classes[label]} for label in labels] for key, labels in chosen.items()}
    _write_json(folder / "classes.json", tables)
    if auxiliary:
        edges = [
            [label, i]
            for label, original in enumerate(targets)
            for i, other in enumerate(auxiliary)
            if superclasses[original] == superclasses[other]
        ]
        _write_json(folder / "neighbors.json", {"edges": edges})


def _write_json(file: Path, content: object) -> None:
    file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _digest(identity: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:12]
