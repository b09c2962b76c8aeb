"""Official sets from their file names to results, on miniatures."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lt_extrap.compose import configure
from lt_extrap.data.official import count_hash
from lt_extrap.evaluate import EvaluateConfig, evaluate
from lt_extrap.train import train

TINY = (
    "recipe.image_size=16",
    "recipe.batch_size=8",
    "backbone.widths=[8,16]",
    "budget={unit: steps, amount: 3, warmup: 0}",
    "data.workers=0",
    "logger=none",
)


def photograph(file: Path, label: int, number: int) -> None:
    """One color a class, one shade a photograph."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((20, 24, 3), 20 * number, np.uint8)
    pixels[..., label % 3] = 200
    Image.fromarray(pixels).save(file, "JPEG")


@pytest.fixture
def ilsvrc(tmp_path: Path) -> tuple[Path, Path]:
    """Lists of ImageNet-LT by their official names, and elsewhere the photographs, validation by synset."""
    lists, images = tmp_path / "ImageNet_LT", tmp_path / "ILSVRC2012"
    rows: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    synsets = ["n01440764", "n02012849", "n03126707"]
    for label, synset in enumerate(synsets):
        for number in range(9 - 3 * label):
            split = "val" if number == 0 else "train"
            rows[split].append(f"train/{synset}/{synset}_{number}.JPEG {label}\n")
            photograph(images / rows[split][-1].split()[0], label, number)
        for number in range(2):
            rows["test"].append(f"val/{synset}/ILSVRC2012_val_0000000{2 * label + number}.JPEG {label}\n")
            photograph(images / rows["test"][-1].split()[0], label, number)
    lists.mkdir()
    for split, lines in rows.items():
        (lists / f"ImageNet_LT_{split}.txt").write_text("".join(lines))
    (lists / "classnames.txt").write_text("n01440764 tench\nn02012849 crane\nn03126707 crane\n")
    return lists, images


def flatten(images: Path) -> None:
    for file in list((images / "val").glob("*/*.JPEG")):
        file.rename(images / "val" / file.name)
        if not any(file.parent.iterdir()):
            file.parent.rmdir()


def test_imagenet_lt_in_both_layouts(ilsvrc, tmp_path, monkeypatch, capsys):
    """Field reports A3 and A6."""
    lists, images = ilsvrc
    monkeypatch.setenv("LT_EXTRAP_DATA", str(lists.parent))
    config = configure("target=imagenet_lt", f"target.images={images}", "target.official=null", *TINY)
    by_synset = train(config, tmp_path / "by_synset")
    said = capsys.readouterr().out
    assert "ImageNet_LT_test.txt, 6 images" in said
    assert "best val/acc on ImageNet_LT_val.txt" in said
    assert "without class folders" not in said
    flatten(images)
    flat = train(config, tmp_path / "flat")
    assert "ImageNet_LT_test.txt: the images lie without class folders" in capsys.readouterr().out
    assert flat["test"] == by_synset["test"]
    assert (tmp_path / "flat" / "per_class.csv").read_text() == (tmp_path / "by_synset" / "per_class.csv").read_text()


@pytest.mark.slow
def test_inat18_in_the_order_of_lift(tmp_path, monkeypatch, capsys):
    """Trained in the order of the names from annotations, measured on a list in the official order.

    Field report A6: what plays the test is said.
    """
    root = tmp_path / "iNaturalist18"
    names = ["Zea mays", "Apis mellifera", "Mus musculus"]
    for file, numbers in (("train2018.json", range(4)), ("val2018.json", range(4, 6))):
        rows = [(f"train_val2018/x/{label}/{number}.jpg", label) for label in range(3) for number in numbers]
        for path, label in rows:
            photograph(root / path, label, int(Path(path).stem))
        content = {
            "images": [{"id": i, "file_name": path} for i, (path, _) in enumerate(rows)],
            "annotations": [{"image_id": i, "category_id": label} for i, (_, label) in enumerate(rows)],
            "categories": [{"id": label, "name": f"obfuscated {label}"} for label in range(3)],
        }
        (root / file).write_text(json.dumps(content))
    (root / "categories.json").write_text(json.dumps([{"id": i, "name": name} for i, name in enumerate(names)]))
    files = (f"target.root={root}", "target.train=train2018.json", "target.test=val2018.json")
    figures = "train: 12, test: 6, classes: 3, many: 0, medium: 0, few: 3, largest: 4, smallest: 4"
    official = f"target.official={{{figures}, counts: {count_hash(np.array([4, 4, 4]))}}}"
    run = tmp_path / "run"
    monkeypatch.setenv("COLUMNS", "200")
    longer = ("budget.amount=20", "recipe.blr=0.1")
    results = train(configure("target=inat18", *files, official, *TINY, *longer, "target.label_order=name"), run)
    assert results["test"]["acc"] == 1.0  # so that labels in another order would be seen below
    said = capsys.readouterr().out
    assert "val2018.json, 6 images; a validation list plays the test, for the set has no other" in said
    assert "last weights" in said
    assert [line.split(",")[2] for line in (run / "per_class.csv").read_text().splitlines()[1:]] == sorted(names)
    (tmp_path / "mine.txt").write_text("".join(f"{path} {label}\n" for path, label in rows))
    mine = evaluate(EvaluateConfig(run=str(run), images=str(tmp_path / "mine.txt"), workers=0))
    assert mine["test"] == results["test"]
