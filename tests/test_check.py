import dataclasses
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lt_extrap import check
from lt_extrap.check import CheckConfig, check_data
from lt_extrap.compose import configure
from lt_extrap.config import AuxiliaryClasses, FolderTarget, NoAuxiliary, Target, TargetExtra
from lt_extrap.data import facts
from lt_extrap.data.facts import FORMAT
from lt_extrap.data.store import Folder
from lt_extrap.data.target import load_target
from lt_extrap.errors import DataError
from lt_extrap.findings import Severity
from lt_extrap.page import LINES, override
from lt_extrap.paths import conf_dir

IDS = ("n01", "n02", "n03")


def picture(seed, size=(64, 48)):
    """Coarse noise: no two are alike."""
    coarse = np.random.default_rng(seed).integers(256, size=(8, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


class Tree:
    """A small data set: three classes, four training, one validation and two test images each."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.rows: dict[str, list[tuple[str, int]]] = {"train": [], "val": [], "test": []}
        for label, id_ in enumerate(IDS):
            for split, count in (("train", 4), ("val", 1), ("test", 2)):
                for number in range(count):
                    self.add(split, f"{split}/{id_}/{number}.png", label)
        self.names = [f"{id_} {name}" for id_, name in zip(IDS, ("otter", "lynx", "heron"), strict=True)]

    def add(self, split, path, label, image=None, **options):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        seed = sum(len(rows) for rows in self.rows.values())
        (picture(seed) if image is None else image).save(file, **options)
        self.rows.setdefault(split, []).append((path, label))

    def target(self, **changed) -> Target:
        for split, rows in self.rows.items():
            (self.root / f"{split}.txt").write_text("".join(f"{path} {label}\n" for path, label in rows))
        (self.root / "names.txt").write_text("\n".join(self.names) + "\n")
        lists = {split: f"{split}.txt" for split in ("train", "val", "test")}
        options = {**lists, "names": "names.txt", "ids_in_names": True, **changed}
        return Target(root=str(self.root), folder="tree", **options)

    def check(self, auxiliary=None, tiny=32, **changed):
        output = str(self.root / "out")
        config = CheckConfig(self.target(**changed), auxiliary or NoAuxiliary(), output, workers=0, tiny=tiny)
        return check_data(config)

    @property
    def page(self):
        return (self.root / "out" / "check.txt").read_text()

    @property
    def excluded(self):
        return (self.root / "out" / "exclude.txt").read_text().splitlines()

    def kinds(self, *arguments, **changed):
        return {finding.kind: finding for finding in self.check(*arguments, **changed).findings}


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.setenv("LT_EXTRAP_CACHE", str(tmp_path / "cache"))
    return Tree(tmp_path / "tree")


def test_nothing_speaks_against_sound_data(tree):
    assert tree.check().findings == ()
    assert "0 errors, 0 warnings, 0 notes: nothing speaks against this data" in tree.page
    assert "3 few; 4 down to 4 images, imbalance factor 1" in tree.page
    assert tree.excluded == []


def test_the_files_that_are_written(tree):
    tree.rows["train"] += tree.rows["test"][:1]
    tree.check()
    content = json.loads((tree.root / "out" / "check.json").read_text())
    assert content["version"] == check.VERSION
    assert content["lists"]["train"] == {"file": str(tree.root / "train.txt"), "rows": 13}
    assert content["classes"][1] == {
        **{"label": 1, "id": "n02", "name": "lynx", "train": 4, "val": 1, "test": 2, "shot": "few"},
        "folder": "n02",
    }
    (finding,) = content["findings"]
    assert (finding["severity"], finding["kind"]) == ("error", "identical_test_trained")
    wanted = {"path": "test/n01/0.png", "label": 0, "name": "0 (otter)"}
    assert finding["cases"] == [{"rows": [{"split": s, **wanted} for s in ("train", "test")], "detail": ""}]
    assert "ERRORS\n- 1 picture is both trained and tested on (the same file)" in tree.page
    assert f"target.exclude={tree.root}/out/exclude.txt" in tree.page
    assert tree.excluded == ["test/n01/0.png"]


ODD = {
    "tiny": (picture(101, (31, 60)), "a.png", {}),
    "long": (picture(101, (400, 60)), "a.png", {}),
    "blank": (Image.new("RGB", (64, 64), (9, 90, 9)), "a.png", {}),
    "suffix": (picture(101), "a.jpg", {"format": "PNG"}),
    "animated": (picture(101), "a.webp", {"save_all": True, "append_images": [picture(102)], "lossless": True}),
    "alpha": (picture(101).convert("RGBA").rotate(20), "a.png", {}),
    "palette": (picture(101).quantize(16), "a.png", {}),
    "cmyk": (picture(101).convert("CMYK"), "a.jpg", {}),
    "gray": (picture(101).convert("L"), "a.jpg", {}),
    "deep": (Image.fromarray(np.asarray(picture(101).convert("L")).astype(np.uint16) * 257), "a.png", {}),
}


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_picture_is_named(tree, kind):
    image, name, options = ODD[kind]
    tree.add("train", f"train/n01/{name}", 0, image, **options)
    found = tree.kinds()
    assert set(found) == ({kind, "gray"} if kind == "deep" else {kind})
    (case,) = found[kind].cases
    assert case.samples[0].path == f"train/n01/{name}"
    assert found[kind].severity == ("warning" if kind in ("tiny", "blank") else "note")
    assert f"train/n01/{name}" in tree.page


def test_a_turned_picture_is_named(tree):
    exif = Image.Exif()
    exif[0x0112] = 6
    tree.add("test", "test/n01/a.jpg", 0, exif=exif)
    assert set(tree.kinds()) == {"turned"}


def test_what_is_tiny_is_a_matter_of_the_key(tree):
    assert set(tree.kinds(tiny=49)) == {"tiny"}
    assert set(tree.kinds(tiny=48)) == set()


def test_unreadable_and_missing_files_in_any_list_are_errors(tree):
    (tree.root / "train/n01/0.png").write_text("<html>404</html>")
    (tree.root / "test/n02/0.png").write_bytes((tree.root / "test/n02/1.png").read_bytes()[:900])
    (tree.root / "val/n03/0.png").unlink()
    findings = tree.check()
    wrong = {(f.kind, f.cases[0].samples[0].split) for f in findings.of(Severity.ERROR)}
    assert wrong == {("unreadable", "train"), ("unreadable", "test"), ("missing", "val")}
    assert ": not an image of a known format" in tree.page
    assert tree.excluded == ["train/n01/0.png"]  # never one that is tested on, and nothing that may yet be found


def test_a_wrong_root_is_told_once_a_list(tree):
    shutil.move(tree.root / "train", tree.root / "pictures")
    found = tree.kinds()
    assert set(found) == {"missing"}
    assert len(found["missing"].cases) == 12
    assert f"there is {tree.root} with" in found["missing"].remedy


def copy(tree, source, split, path, label):
    image = Image.open(tree.root / source)
    image.load()
    tree.add(split, path, label, image)
    (tree.root / path).write_bytes((tree.root / source).read_bytes())


def test_copies_across_lists_and_labels(tree):
    copy(tree, "test/n01/0.png", "train", "train/n01/copy.png", 0)
    copy(tree, "val/n02/0.png", "train", "train/n02/copy.png", 1)
    copy(tree, "val/n03/0.png", "test", "test/n03/copy.png", 2)
    copy(tree, "train/n01/1.png", "train", "train/n02/other.png", 1)
    copy(tree, "train/n01/2.png", "train", "train/n01/again.png", 0)
    found = tree.kinds()
    assert {kind: str(finding.severity) for kind, finding in found.items()} == {
        "identical_test_trained": "error",
        "identical_test_val": "error",
        "identical_labels": "error",
        "identical_val_trained": "warning",
        "identical_within": "warning",
    }
    assert [len(finding.cases) for finding in found.values()] == [1] * 5
    leak = found["identical_test_trained"].cases[0].samples
    assert [sample.path for sample in leak] == ["train/n01/copy.png", "test/n01/0.png"]
    two_labels = ["train/n01/1.png", "train/n02/other.png"]  # nobody knows which is right
    assert tree.excluded == sorted([*two_labels, "train/n01/copy.png", "train/n02/copy.png"])


def test_the_same_picture_in_other_bytes_and_mirrored(tree):
    image = Image.open(tree.root / "test/n01/0.png")
    tree.add("train", "train/n01/saved.jpg", 0, image.resize((128, 96)), quality=60)
    tree.add("train", "train/n01/mirror.png", 0, image.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    tree.add("train", "train/n02/near.jpg", 1, Image.open(tree.root / "train/n01/0.png"), quality=60)
    found = tree.kinds()
    assert {kind: str(finding.severity) for kind, finding in found.items()} == {
        "near_test_trained": "warning",
        "near_labels": "warning",
        "mirror_test_trained": "warning",
    }
    assert tree.excluded == ["train/n01/saved.jpg"]


def test_rows_that_repeat_an_image(tree):  # field report A13
    tree.rows["train"] += tree.rows["train"][:2]
    found = tree.kinds()
    assert set(found) == {"repeated"}
    assert found["repeated"].summary == "2 rows of the train list repeat an image with its label"


def test_one_row_under_two_labels(tree):
    tree.rows["train"].append(("train/n01/0.png", 2))
    assert set(tree.kinds()) == {"identical_labels", "folder_labels", "label_folders"}
    assert tree.excluded == ["train/n01/0.png"]


def test_names_out_of_step_with_folders(tree):  # field report A15
    tree.names[0], tree.names[2] = tree.names[2], tree.names[0]
    found = tree.kinds()
    assert set(found) == {"folder_ids"}
    assert found["folder_ids"].severity == "error"
    assert [case.detail for case in found["folder_ids"].cases] == [
        "label 0, id n03, name heron: 7 images in the folder n01",
        "label 2, id n01, name otter: 7 images in the folder n03",
    ]


def test_names_out_of_step_with_folders_named_after_them(tree):
    tree.names = ["n03", "n02", "n01"]
    found = tree.kinds(ids_in_names=False)
    assert {kind: str(finding.severity) for kind, finding in found.items()} == {"folder_names": "error"}


def test_class_folders_need_not_be_the_last_ones(tree):
    for split, rows in tree.rows.items():
        for row, (path, label) in enumerate(rows):
            image = (tree.root / path).rename(tree.root / "moved")
            (tree.root / path).mkdir()
            image.rename(tree.root / path / "a.png")
            tree.rows[split][row] = (f"{path}/a.png", label)
    tree.names[0], tree.names[2] = tree.names[2], tree.names[0]
    assert set(tree.kinds()) == {"folder_ids"}


def test_labels_that_may_be_those_of_folders_sorted_as_text(tree):
    for path in [*tree.root.rglob("n0?")]:
        path.rename(path.with_name({"n01": "0", "n02": "2", "n03": "1"}[path.name]))
    for split, rows in tree.rows.items():
        tree.rows[split] = [
            (path.replace("n01", "0").replace("n02", "2").replace("n03", "1"), label) for path, label in rows
        ]
    found = tree.kinds(names=None, ids_in_names=False)
    assert {kind: str(finding.severity) for kind, finding in found.items()} == {"folder_ids": "warning"}


def test_a_label_that_disagrees_with_its_folder(tree):
    tree.rows["test"][0] = ("test/n01/0.png", 1)
    found = tree.kinds()
    assert set(found) == {"folder_labels", "label_folders"}
    (case,) = found["folder_labels"].cases
    assert case.detail == "folder n01: 1 labelled 1 (lynx); most are 0 (otter)"
    assert [sample.path for sample in case.samples] == ["test/n01/0.png"]


def test_labels_out_of_range(tree):  # field report A11
    tree.rows["train"] = [(path, label + 1) for path, label in tree.rows["train"]]
    tree.rows["test"].append(("test/n01/0.png", 2_000_000_000))
    found = tree.kinds()
    assert {"labels", "empty"} <= set(found)
    assert found["labels"].summary.startswith("5 images have labels outside of 0..2")
    assert found["empty"].cases[0].detail == "0 (otter), 3 images to measure it on"


def test_a_label_that_would_be_a_billion_classes(tree):
    tree.rows["train"].append(("train/n01/0.png", 2_000_000_000))
    assert "labels" in tree.kinds(names=None, ids_in_names=False)


def test_classes_without_training_images(tree):  # field report A12
    tree.rows["train"] = [row for row in tree.rows["train"] if row[1] != 2]
    found = tree.kinds()
    assert {kind: str(finding.severity) for kind, finding in found.items()} == {"empty": "error"}
    assert {kind: str(f.severity) for kind, f in tree.kinds(allow_empty=True).items()} == {"empty": "note"}


def test_lists_and_names_that_cannot_be_read(tree):
    target = tree.target(names="none.txt")
    (tree.root / "val.txt").write_text("val/n01/0.png zero\n")
    config = CheckConfig(target, NoAuxiliary(), str(tree.root / "out"), workers=0)
    found = check_data(config).of(Severity.ERROR)
    assert [finding.summary for finding in found] == [
        "the val list cannot be read",
        "the file of names cannot be read",
    ]
    assert "line 1: 'val/n01/0.png zero'" in tree.page


def test_without_any_list_it_still_ends(tree):
    found = tree.kinds(train="no.txt", val=None, test="none.txt")
    assert set(found) == {"list"}


def auxiliary(tree, names, **options):
    for label, name in enumerate(names):
        for number in range(2):
            tree.add("aux", f"aux/{name}/{number}.png", label)
    (tree.root / "aux_names.txt").write_text("\n".join(names) + "\n")
    return AuxiliaryClasses(train="aux.txt", names="aux_names.txt", neighbors_per_class=None, **options)


def test_auxiliary_images_are_trained_on(tree):
    node = auxiliary(tree, ["stoat", "stork"])
    copy(tree, "test/n03/1.png", "aux", "aux/stork/copy.png", 1)
    found = tree.kinds(node)
    assert set(found) == {"identical_test_trained", "identical_labels"}
    assert found["identical_labels"].cases[0].samples[1].name == "auxiliary 1 (stork)"
    assert tree.excluded == ["aux/stork/copy.png"]


def test_a_target_name_among_the_auxiliary_names(tree):
    found = tree.kinds(auxiliary(tree, ["stoat", "Lynx"]))
    assert {kind: str(finding.severity) for kind, finding in found.items()} == {"auxiliary_name": "error"}
    assert found["auxiliary_name"].cases[0].detail == "1 (lynx) and auxiliary 1 (Lynx)"


def test_what_was_left_out_of_a_folder_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LT_EXTRAP_CACHE", str(tmp_path / "cache"))
    for label in "ab":
        (tmp_path / "mine" / label).mkdir(parents=True)
        for number in range(6):
            picture(6 * ord(label) + number).save(tmp_path / "mine" / label / f"{number}.png")
    (tmp_path / "mine" / "a" / "raw.CR2").write_bytes(b"raw")
    folder = FolderTarget(root=str(tmp_path / "mine"), folder="folder")
    check_data(CheckConfig(folder, NoAuxiliary(), str(tmp_path / "checks"), workers=0))
    note = "left out, kinds of other files: 1 (1 .CR2)"
    assert f"         {note}\n" in capsys.readouterr().out
    assert note in json.loads((tmp_path / "checks" / "check.json").read_text())["notes"]


def test_confusable_names_are_notes(tree):
    tree.names = ["n01 sea otter", "n02 otter", "n03 sea otter"]
    found = tree.kinds(auxiliary(tree, ["otters", "sea-otter"]))
    assert {kind: str(finding.severity) for kind, finding in found.items()} == dict.fromkeys(
        ("same_name", "alike_names", "contained_names"), "note"
    )
    assert found["same_name"].cases[0].detail == "0 (sea otter) and 2 (sea otter)"


def test_further_target_images(tree):
    for label, id_ in enumerate(IDS):
        tree.add("extra", f"extra/{id_}/0.png", label)
    node = TargetExtra(train="extra.txt", images_per_epoch=3)
    assert set(tree.kinds(node)) == set()
    copy(tree, "test/n03/1.png", "extra", "extra/n03/copy.png", 2)
    assert set(tree.kinds(node)) == {"identical_test_trained"}


def test_what_only_training_refuses_is_told(tree):
    node = auxiliary(tree, ["stoat", "stork"], pairs="pairs.json")
    (tree.root / "pairs.json").write_text('{"edges": [[0, 7]]}')
    found = tree.kinds(node)
    assert set(found) == {"refused"}
    assert "the pair [0, 7]" in tree.page


def test_a_refusal_is_told_beside_classes_that_may_be_empty(tree):
    tree.rows["train"] = [row for row in tree.rows["train"] if row[1] != 2]
    node = auxiliary(tree, ["stoat", "stork"], pairs="pairs.json")
    (tree.root / "pairs.json").write_text('{"edges": [[0, 7]]}')
    assert "refused" in tree.kinds(node, allow_empty=True)


def test_a_name_that_is_too_long_for_a_file_is_missing(tree):
    tree.rows["train"].append((f"train/n01/{'x' * 300}.png", 0))
    tree.rows["train"].append((f"train/{'x' * 300}/0.png", 0))
    assert len(tree.kinds()["missing"].cases) == 2


@pytest.mark.parametrize("letter", ["\u2028", "\x85", "\xa0"])
def test_paths_of_any_letters_are_excluded(tree, letter):  # Python takes these for line ends and blanks
    for path in (f"train/n01/a{letter}b.png", f"train/n01/a.png{letter}"):
        (tree.root / path).write_bytes((tree.root / "test/n01/0.png").read_bytes())
        tree.rows["train"].append((path, 0))
    assert set(tree.kinds()) == {"identical_test_trained"}
    assert tree.kinds(exclude=str(tree.root / "out" / "exclude.txt")) == {}


def test_an_auxiliary_copy_does_not_cost_the_target_its_image(tree):
    node = auxiliary(tree, ["stoat", "stork"])
    copy(tree, "train/n03/1.png", "aux", "aux/stork/copy.png", 1)
    assert set(tree.kinds(node)) == {"identical_labels"}
    assert tree.excluded == ["aux/stork/copy.png"]
    assert tree.kinds(node, exclude=str(tree.root / "out" / "exclude.txt")) == {}


def test_of_a_film_the_frames_next_to_the_tested_ones_are_left_out(tree):
    wide = np.asarray(picture(7, (200, 48)))
    for number in range(20):
        frame = Image.fromarray(wide[:, number : number + 64])
        split = "test" if number >= 18 else "train"
        tree.add(split, f"{split}/n01/f{number}.png", 0, frame)
    found = tree.kinds()
    assert [len(case.samples) for case in found["near_test_trained"].cases] == [20]
    assert "train/n01/f17.png" in tree.excluded
    assert "train/n01/f0.png" not in tree.excluded


def test_classes_that_an_exclusion_would_empty_are_told(tree):
    for number in range(4):
        shutil.copy(tree.root / f"test/n02/{number % 2}.png", tree.root / f"train/n02/{number}.png")
    assert set(tree.kinds()) == {"identical_test_trained"}
    assert "leaves 1 class without training images" in tree.page


def test_names_out_of_step_with_folders_beside_a_flat_test_list(tree):
    rows, tree.rows["test"] = tree.rows["test"] * 9, []
    for number, (path, label) in enumerate(rows):
        tree.rows["test"].append((f"test/{number}.png", label))
        shutil.copy(tree.root / path, tree.root / f"test/{number}.png")
    assert "folder_ids" not in tree.kinds()
    tree.names[0], tree.names[2] = tree.names[2], tree.names[0]
    assert "folder_ids" in tree.kinds()


def test_auxiliary_classes_without_names_share_none(tree):
    tree.names = ["n01 1", "n02 2", "n03 3"]
    node = auxiliary(tree, ["stoat", "stork", "stilt"])
    assert tree.kinds(dataclasses.replace(node, names=None)) == {}


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["/a/b-c_1.d", "/a b", "/é", "/it's", '/a"b', "/a,b"])
def test_the_words_that_exclude_can_be_typed(folder):
    words = shlex.split(override("target.exclude", Path(folder, "exclude.txt")))
    assert configure("experiment=demo", *words).target.exclude == f"{folder}/exclude.txt"


def test_a_second_check_with_what_the_first_leaves_out_is_clean(tree):
    (tree.root / "train/n01/0.png").write_bytes(b"no image")
    copy(tree, "test/n01/0.png", "train", "train/n01/copy.png", 0)
    copy(tree, "train/n02/1.png", "train", "train/n03/copy.png", 2)
    before = tree.check()
    assert before.of(Severity.ERROR)
    exclude = str(tree.root / "out" / "exclude.txt")
    left_out = tree.excluded
    again = tree.check(exclude=exclude)
    assert not again.of(Severity.ERROR)
    assert tree.excluded == left_out  # the file in use is written again, and nothing returns to training
    assert f"{len(left_out)} left out by target.exclude" in tree.page
    target = load_target(tree.target(exclude=exclude))
    assert target.left_out.tolist() == [2, 1, 1]
    assert target.classes.counts.tolist() == [5, 4, 5]


def test_an_exclusion_that_empties_a_class_is_an_error(tree):
    (tree.root / "none.txt").write_text("".join(f"train/n02/{i}.png\n" for i in range(4)))
    found = tree.kinds(exclude="none.txt")
    assert set(found) == {"empty"}
    assert found["empty"].summary.endswith("1 because of target.exclude")


def test_the_page_stays_a_page(tree):
    tree.names = [f"n0{i} name{i}{'s' * (i % 2)}" for i in range(1, 4)]
    for kind, (image, name, options) in ODD.items():
        for number in range(3):
            tree.add("train", f"train/n01/{kind}{number}{Path(name).suffix}", 0, image, **options)
    for number in range(4):
        copy(tree, f"train/n01/{number}.png", "test", f"test/n02/{number}{number}.png", 1)
        copy(tree, f"train/n02/{number}.png", "train", f"train/n03/{number}{number}.png", 2)
        (tree.root / f"train/n03/{number}.png").unlink()
    assert len(tree.check().findings) > 15
    lines = tree.page.splitlines()
    assert len(lines) <= LINES
    assert [line for line in lines if line.isupper()] == ["ERRORS", "WARNINGS", "NOTES"]


def test_an_interrupted_check_goes_on_where_it_was(tree, monkeypatch):
    def stop(self, done, total):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(check.Bar, "show", stop)
        with pytest.raises(KeyboardInterrupt):
            tree.check()
    looked = []
    look = facts.look
    monkeypatch.setattr(facts, "look", lambda path, images: looked.append(path) or look(path, images))
    tree.check()
    assert len(looked) == 21 - 16


def test_a_place_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match="no folder"):
        check_data(CheckConfig(Target(root=str(tmp_path / "x"), folder="x", train="t", test="t"), NoAuxiliary(), "o"))


def command(tree, *overrides):
    lists = [f"target.{split}={split}.txt" for split in ("train", "val", "test", "names")]
    tree.target()
    words = ["target=lists", f"target.root={tree.root}", "target.ids_in_names=true", *lists, *overrides]
    return [sys.executable, "-m", "lt_extrap.check", *words]


def environment(tree):
    paths = [str(conf_dir().parent / "src"), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "LT_EXTRAP_CACHE": str(tree.root / "cache"), "PYTHONPATH": os.pathsep.join(paths)}


def run(tree, *overrides):
    words = command(tree, *overrides)
    return subprocess.run(words, capture_output=True, text=True, cwd=tree.root, env=environment(tree), timeout=120)


def test_the_command_ends_with_1_if_there_are_errors(tree, monkeypatch, capfd):  # as a process of its own: below
    monkeypatch.setattr(sys, "argv", ["check", *command(tree, "workers=0")[3:]])
    monkeypatch.chdir(tree.root)
    check.cli.run(check.task)
    (tree.root / "train/n01/0.png").unlink()
    capfd.readouterr()
    with pytest.raises(SystemExit) as ended:
        check.cli.run(check.task)
    said = capfd.readouterr()
    assert (ended.value.code, said.err) == (1, "")
    assert said.out == (tree.root / "checks" / "lists" / "check.txt").read_text()
    assert "1 of 12 images of the train list are not below" in said.out


@pytest.mark.slow
@pytest.mark.parametrize("number", [pytest.param(signal.SIGKILL, marks=pytest.mark.long), signal.SIGINT])
def test_a_killed_check_goes_on_and_leaves_no_process(tree, number):
    for label in range(3):
        for position in range(400):
            tree.add("train", f"train/{IDS[label]}/more{position}.png", label)
    words = command(tree, "workers=2")
    store = tree.root / "cache" / f"facts-{FORMAT}.sqlite"
    process = subprocess.Popen(words, cwd=tree.root, env=environment(tree), stdout=subprocess.PIPE, text=True)
    while (
        not store.with_name(f"{store.name}-wal").exists() or store.with_name(f"{store.name}-wal").stat().st_size < 4e4
    ):
        assert process.poll() is None
        time.sleep(0.005)
    began = time.monotonic()
    process.send_signal(number)
    process.communicate(timeout=30)  # ends when the last worker has closed the output too
    assert time.monotonic() - began < 10
    assert process.returncode == (-number if number == signal.SIGKILL else 128 + number)
    with facts.FactStore(store) as kept:
        files = [tree.root / path for rows in tree.rows.values() for path, _ in rows]
        known = sum(kept.knows(str(file), Folder(file.parent).stamp(file.name)) for file in files)
    assert 0 < known < len(files)
    assert run(tree).returncode == 0


@pytest.mark.slow
def test_the_six_pairs_of_tiny_imagenet(real_data, tmp_path, capsys):
    source = real_data / "tiny_imagenet" / "images.tar"
    if not source.is_file():
        pytest.skip("LT_EXTRAP_DATA has no tiny_imagenet/images.tar")
    folders = ("n03355925", "n03976657", "n04596742", "n04597913", "n07747607", "n07749582", "n07753592")
    with tarfile.open(source) as tar:
        tar.extractall(tmp_path, [m for m in tar if m.name.split("/")[-2] in folders], filter="data")
    for split in ("train", "test"):
        paths = sorted((tmp_path / split).rglob("*.JPEG"))
        rows = [f"{path.relative_to(tmp_path)} {folders.index(path.parent.name)}\n" for path in paths]
        (tmp_path / f"{split}.txt").write_text("".join(rows))
    target = Target(root=str(tmp_path), folder="six", train="train.txt", test="test.txt")
    findings = check_data(CheckConfig(target, NoAuxiliary(), str(tmp_path / "out"), workers=2))
    found = {finding.kind: len(finding.cases) for finding in findings.of(Severity.ERROR)}
    assert found == {"identical_test_trained": 1, "identical_labels": 6}
    assert not [finding for finding in findings.findings if finding.kind.startswith(("near", "mirror"))]
    assert len(findings.exclude) == 11
