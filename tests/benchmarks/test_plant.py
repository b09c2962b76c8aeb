import dataclasses
import hashlib
import io
import json
from collections import Counter

import numpy as np
import pytest
from PIL import Image, ImageOps

from benchmarks.curation import captions
from benchmarks.curation.changes import COPIES, FORMATS, JUNK, LEAKS, PLACEHOLDERS
from benchmarks.curation.outcome import Dropped, Outcome
from benchmarks.curation.photographs import Named, embedded, tiny_imagenet
from benchmarks.curation.plant import Amounts, plan_neighbors, plan_target, write_pools
from benchmarks.curation.score import score
from benchmarks.curation.truth import CAPTIONS, IMAGES, WHATS, read_truth
from lt_extrap.data.decode import UnreadableImage, decode_rgb
from lt_extrap.data.duplicates import SIDE, agreement
from lt_extrap.errors import ConfigError

AMOUNTS = Amounts(
    images=10,
    nameless=0.2,
    other_name=0.1,
    label_noise=0.1,
    leaks=1,
    target_leaks=1,
    near=2,
    formats=1,
    junk=1,
    duplicates=2,
    placeholders=3,
    suspects=1,
    suspect_images=8,
)
CHANGED = ("odd format", "leak", "duplicate", "duplicate across", "placeholder", "junk")
WORLD = {
    "families": 3,
    "classes": 9,
    "neighbors_per_family": 3,
    "random_classes": 0,
    "largest": 30,
    "smallest": 6,
    "val_per_class": 3,
    "test_per_class": 4,
    "auxiliary_images": 20,
    "extra_images": 20,
    "image_size": 32,
}


@pytest.fixture(scope="module")
def photographs(cache):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LT_EXTRAP_CACHE", str(cache))
        return embedded(*(f"target.world.{key}={value}" for key, value in WORLD.items()))


@pytest.fixture(scope="module")
def pools(photographs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("curation") / "pools"
    write_pools(photographs, AMOUNTS, folder)
    return folder


@pytest.fixture(scope="module")
def picture(photographs):
    path = photographs.of_other[0][0]
    return decode_rgb(path, data=photographs.images.read(path))


def test_as_much_is_planted_as_was_asked_for(photographs):
    rows = plan_neighbors(photographs, AMOUNTS)
    assert Counter(row.what for row in rows) == {
        "clean": 8 * 7,  # of 9 classes one is a suspect
        "nameless caption": 8 * 2,
        "other name": 8 * 1,
        "label noise": 8 * 1,
        "leak": 3 * 8,
        "odd format": 5,
        "junk": 6,
        "placeholder": 2 * 3,
        "duplicate": 3 * 2,
        "duplicate across": 3 * 2,
        "suspect": 8,
    }
    leaks = Counter((row.kind, row.split) for row in rows if row.what == "leak")
    assert leaks == {(kind, split): 1 for kind in LEAKS for split in ("train", "val", "test")}
    further = Counter(row.what for row in plan_target(photographs, AMOUNTS))
    assert further["clean"] + further["nameless caption"] + further["other name"] == 9 * 20 - 8
    assert further["leak"] == 3 * 8
    assert set(further) == set(WHATS) - {"odd format", "suspect", "longer name"}


def test_what_should_be_kept_shows_its_class_and_is_of_no_split(photographs):
    of_split = {path for by_label in photographs.splits.values() for paths in by_label for path in paths}
    for plan in (plan_neighbors, plan_target):
        for row in plan(photographs, AMOUNTS):
            assert not row.keep or row.shows == row.folder
            assert (row.of in of_split) == (row.what == "leak") == (row.split is not None)


def test_leaks_are_in_classes_near_their_target(photographs):
    ids = [named.id for named in photographs.targets]
    suspect = {row.folder for row in plan_neighbors(photographs, AMOUNTS) if row.what == "suspect"}
    for row in plan_neighbors(photographs, AMOUNTS):
        if row.what == "leak":
            ranked = [photographs.others[i].id for i in photographs.nearest[ids.index(row.shows)]]
            assert row.folder in [folder for folder in ranked if folder not in suspect][: AMOUNTS.near]
    assert all(row.folder == row.shows for row in plan_target(photographs, AMOUNTS) if row.what == "leak")


def test_a_photograph_is_in_one_place_but_for_its_duplicates(photographs):
    suspects = [row for row in plan_neighbors(photographs, AMOUNTS) if row.what == "suspect"]
    rows = [row for row in plan_target(photographs, AMOUNTS) if row.what not in CHANGED]
    assert Counter(row.of for row in [*suspects, *rows]).most_common(1)[0][1] == 1
    rows = [row for row in plan_neighbors(photographs, AMOUNTS) if row.what not in CHANGED or row.what == "odd format"]
    assert Counter(row.of for row in rows).most_common(1)[0][1] == 1


def test_captions_name_what_the_truth_says(photographs):
    named = {one.id: one for one in (*photographs.targets, *photographs.others)}
    for plan in (plan_neighbors, plan_target):
        for row in plan(photographs, AMOUNTS):
            assert captions.says(row.caption, named[row.folder]) == (
                row.what not in ("nameless caption", "other name")
            ), row


def test_a_longer_name_has_the_shorter_one_in_it():
    lion, cougar = Named("n1", "lion", ("lion",)), Named("n2", "cougar", ("cougar", "mountain lion", "sealion"))
    assert captions.longer_names(lion, [lion, cougar]) == ["mountain lion"]
    assert captions.longer_names(cougar, [lion, cougar]) == []


def test_a_plan_is_a_function_of_its_seed(photographs):
    assert plan_neighbors(photographs, AMOUNTS) == plan_neighbors(photographs, AMOUNTS)
    other = plan_neighbors(photographs, dataclasses.replace(AMOUNTS, seed=1))
    assert {row.place for row in other}.isdisjoint(row.place for row in plan_neighbors(photographs, AMOUNTS))
    more = plan_neighbors(photographs, dataclasses.replace(AMOUNTS, leaks=2))
    assert {row for row in more if row.keep and row.kind is None} == {
        row for row in plan_neighbors(photographs, AMOUNTS) if row.keep and row.kind is None
    }


def test_files_captions_and_truth_agree(pools, photographs):
    for pool, plan in (("neighbors", plan_neighbors), ("target", plan_target)):
        rows = read_truth(pools / pool)
        assert [dataclasses.replace(row, sha256="") for row in rows] == plan(photographs, AMOUNTS)
        for row in rows:
            assert hashlib.sha256((pools / pool / IMAGES / row.place).read_bytes()).hexdigest() == row.sha256
        said = list(map(json.loads, (pools / pool / CAPTIONS).read_text().splitlines()))
        assert said == [{"path": row.place, "caption": row.caption} for row in rows]
        files = [file for file in (pools / pool / IMAGES).rglob("*") if file.is_file()]
        assert len(files) == len(rows) == len({row.place for row in rows})
    same = [row for row in rows if row.what == "leak" and row.kind == "same file"]
    assert all(
        (photographs.images.read(row.of) == (pools / "target" / IMAGES / row.place).read_bytes()) for row in same
    )


def test_a_curation_that_knows_the_truth_is_perfect_and_one_that_keeps_all_is_not(pools):
    for pool in ("neighbors", "target"):
        rows = read_truth(pools / pool)
        dropped = {row.place: Dropped("selection", f"copy_of_{row.split}") for row in rows if not row.keep}
        perfect = score(rows, Outcome(frozenset((row.folder, row.sha256) for row in rows if row.keep), dropped))
        assert perfect.precision.part == perfect.precision.of == perfect.kept == sum(row.keep for row in rows)
        assert perfect.recall.part == perfect.recall.of == perfect.kept
        assert all(told.part == told.of == 1 for told in (*perfect.told.values(), *perfect.kept_out.values()))
        assert perfect.false_alarms.part == 0
        greedy = score(rows, Outcome(frozenset((row.folder, row.sha256) for row in rows), {}))
        assert greedy.recall == perfect.recall
        assert greedy.precision.part == perfect.precision.part < greedy.precision.of
        assert all(told.part == 0 for told in greedy.kept_out.values())


def test_a_photograph_that_a_split_has_too_is_told_as_a_leak(photographs, tmp_path):
    path = photographs.splits["test"][0][0]
    every = [[path] * len(paths) for paths in photographs.of_other]
    write_pools(
        dataclasses.replace(photographs, of_other=every), dataclasses.replace(AMOUNTS, junk=0), tmp_path / "pools"
    )
    rows = [row for row in read_truth(tmp_path / "pools" / "neighbors") if row.of == path and row.what != "suspect"]
    assert not any(row.keep for row in rows if row.what == "clean" or row.kind == "same file")
    leaks = [row for row in rows if row.what == "leak" and row.folder == row.shows]
    assert {(row.kind, row.split) for row in leaks} == {("same file", "test")}
    assert len(leaks) == 8 * 7


def test_a_folder_of_other_amounts_is_left_alone(pools, photographs):
    before = {file: file.stat().st_mtime_ns for file in pools.rglob("*")}
    write_pools(photographs, AMOUNTS, pools)
    with pytest.raises(ConfigError, match="a folder that is not there yet"):
        write_pools(photographs, dataclasses.replace(AMOUNTS, junk=2), pools)
    assert {file: file.stat().st_mtime_ns for file in pools.rglob("*")} == before


@pytest.mark.parametrize(
    "more", [{"leaks": 20}, {"label_noise": 0.9}, {"formats": 80}, {"suspects": 9}, {"suspect_images": 11}]
)
def test_too_few_photographs_are_refused(photographs, more):
    with pytest.raises(ConfigError, match="plant fewer"):
        plan_neighbors(photographs, dataclasses.replace(AMOUNTS, **more))


def alike(one, other):
    thumbnails = [np.asarray(ImageOps.grayscale(image).resize((SIDE, SIDE)))[None] for image in (one, other)]
    return float(agreement(*thumbnails)[0])


@pytest.mark.parametrize("kind", [kind for kind in LEAKS if LEAKS[kind]])
def test_a_leak_is_the_picture_and_another_file(picture, kind):
    changed = decode_rgb("leak", data=LEAKS[kind](picture, np.random.default_rng(0)))
    original = ImageOps.mirror(picture) if kind == "mirrored" else picture
    assert alike(original, changed) > (0.5 if kind == "cropped" else 0.8)
    assert changed.size == ((29, 29) if kind == "cropped" else picture.size)
    assert np.abs(np.asarray(changed.resize(picture.size), float) - np.asarray(picture)).mean() > 0.5


@pytest.mark.parametrize("kind", FORMATS)
def test_an_odd_format_is_read_as_the_picture(picture, kind):
    data = FORMATS[kind](picture, np.random.default_rng(0))
    decoded = decode_rgb("odd", data=data)
    if kind == "transparent PNG":
        decoded = ImageOps.crop(decoded, 2)
        assert np.asarray(decode_rgb("odd", data=data))[0, 0].tolist() == [255, 255, 255]  # not the hidden red
    assert decoded.size == picture.size
    assert alike(picture, decoded) > 0.95


def test_odd_formats_are_what_they_are_called(picture):
    opened = {kind: Image.open(io.BytesIO(FORMATS[kind](picture, np.random.default_rng(0)))) for kind in FORMATS}
    assert opened["16-bit gray PNG"].mode.startswith("I;16")
    assert opened["CMYK"].mode == "CMYK"
    assert opened["EXIF-rotated"].getexif()[0x0112] == 6
    assert opened["transparent PNG"].mode == "RGBA"
    assert opened["animated GIF"].n_frames > 1


@pytest.mark.parametrize("kind", ["HTML", "cut", "144 megapixels"])
def test_junk_that_is_no_image_is_refused(picture, kind):
    data = JUNK[kind](picture, np.random.default_rng(0))
    assert len(data) < 40_000
    with pytest.raises(UnreadableImage):
        decode_rgb("junk", data=data)


def test_junk_that_is_an_image_shows_nothing(picture):
    shown = {
        kind: decode_rgb("junk", data=JUNK[kind](picture, np.random.default_rng(0)))
        for kind in ("blank", "noise", "one pixel")
    }
    assert np.asarray(shown["blank"]).std(axis=(0, 1)).max() < 1
    assert abs(alike(picture, shown["noise"])) < 0.5
    assert shown["one pixel"].size == (1, 1)


def test_a_placeholder_is_one_picture(picture):
    one, same = (PLACEHOLDERS["same file"](image, np.random.default_rng(0)) for image in (picture, picture.rotate(90)))
    again = PLACEHOLDERS["saved again"](picture, np.random.default_rng(1))
    assert one == same != again
    assert alike(decode_rgb("one", data=one), decode_rgb("again", data=again)) > 0.99
    assert set(COPIES) < set(LEAKS)


@pytest.mark.slow
def test_the_photographs_suffice_for_the_full_pools(real_data, monkeypatch):
    monkeypatch.setenv("LT_EXTRAP_DATA", str(real_data))
    photographs = tiny_imagenet()
    assert (len(photographs.targets), len(photographs.others)) == (60, 140)
    assert {len(paths) for paths in photographs.of_other} == {200}
    neighbors, target = plan_neighbors(photographs, Amounts()), plan_target(photographs, Amounts())
    assert len({row.place for row in neighbors}) == len(neighbors) > 140 * 150
    assert Counter(row.what for row in neighbors)["longer name"] == 5 * 15
    assert len(target) > 4_861
