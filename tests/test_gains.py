import csv

import pytest

from lt_extrap.gains import GAINS, Gain, baseline_of, largest_gains, write_gains

NAMES = ["lynx", "lynx", "owl"]  # names are not always unique


def put(folder, correct, confusions, names=NAMES, images=4):
    folder.mkdir(parents=True)
    (folder / "results.json").write_text("{}")
    with (folder / "per_class.csv").open("w") as file:
        file.write("class,name,shot,train_images,test_images,accuracy\n")
        for label, (name, right) in enumerate(zip(names, correct, strict=True)):
            accuracy = "" if right is None else f"{right / images:.6f}"
            file.write(f"{label},{name},few,5,{0 if right is None else images},{accuracy}\n")
    with (folder / "confusions.csv").open("w") as file:
        file.write("class,predicted,images\n" + "".join(f"{a},{b},{n}\n" for a, b, n in confusions))
    return folder


@pytest.fixture
def runs(tmp_path):
    put(tmp_path / "component+baseline-seed+3", [0, 1, 4], [(0, 2, 3), (1, 0, 3), (0, 1, 1)])
    put(tmp_path / "component+silencing-seed+3", [1, 4, 2], [(0, 1, 2), (2, 0, 2), (0, 2, 1)])
    return tmp_path


def test_the_classes_that_gain_and_what_they_are_taken_for(runs):
    run, baseline = runs / "component+silencing-seed+3", runs / "component+baseline-seed+3"
    gains = largest_gains(run, baseline)
    assert gains == [
        Gain(1, "lynx", "few", 4, 0.25, 1.0, "lynx 3", ""),
        Gain(0, "lynx", "few", 4, 0.0, 0.25, "owl 3; lynx 1", "lynx 2; owl 1"),
    ]
    assert largest_gains(run, baseline, most=1) == gains[:1]
    write_gains(run / GAINS, gains)
    with (run / GAINS).open() as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == ["1", "0"]
    assert rows[1]["mistaken_now"] == "lynx 2; owl 1"
    assert float(rows[0]["now"]) - float(rows[0]["before"]) == 0.75


def test_most_mistakes_are_left_out(tmp_path):
    names = list("abcdef")
    many = [(0, other, 9 - other) for other in range(1, 6)]
    run = put(tmp_path / "run", [2, 0, 0, 0, 0, 0], many, names)
    baseline = put(tmp_path / "component+baseline-seed+0", [0] * 6, many, names)
    assert largest_gains(run, baseline)[0].mistaken_now == "b 8; c 7; d 6"


def test_classes_without_test_images_gain_nothing(tmp_path):
    run = put(tmp_path / "run", [None, 1, 1], [])
    assert [gain.label for gain in largest_gains(run, put(tmp_path / "other", [None, 0, 1], []))] == [1]


def test_the_baseline_has_ended_with_the_same_seed_on_the_same_images(runs, tmp_path):
    run, baseline = runs / "component+silencing-seed+3", runs / "component+baseline-seed+3"
    assert baseline_of(run, 3) == baseline
    assert baseline_of(run, 4) is None
    assert baseline_of(baseline, 3) is None
    put(tmp_path / "component+baseline-seed+5", [0, 1, 4], [], images=5)
    put(tmp_path / "component+baseline-seed+6", [0, 1, 4], [], names=["lynx", "cat", "owl"])
    assert baseline_of(run, 5) is None
    assert baseline_of(run, 6) is None
    (baseline / "results.json").unlink()
    assert baseline_of(run, 3) is None
