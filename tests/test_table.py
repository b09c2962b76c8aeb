import csv
import json

import pytest

from lt_extrap.errors import RunError
from lt_extrap.run_name import row_of, run_folder
from lt_extrap.runs import write_table
from lt_extrap.table import find_runs, groups_of, markdown, read_rows, row_name, tabulate, varied


def put(folder, name, seed, overall=0.5, few=0.5, steps=10, **config):
    run = folder / name
    run.mkdir(parents=True)
    (run / "run.json").write_text(json.dumps({"config": {"seed": seed, **config}}))
    test = {"acc": overall, "acc_many": 0.9, "acc_medium": None, "acc_few": few}
    last = {**test, "acc": overall / 2}
    content = {"seed": seed, "test": test, "last": last, "steps": steps, "views": 5, "target_views": 3}
    (run / "results.json").write_text(json.dumps(content))


def read(root):
    return read_rows((row_name(run, root), run) for run in find_runs(root)[0])


@pytest.fixture
def runs(tmp_path):
    put(tmp_path, "component+baseline-seed+0", 0, 0.40, 0.20)
    put(tmp_path, "component+baseline-seed+1", 1, 0.44, 0.10)
    put(tmp_path, "component+silencing-seed+0", 0, 0.45, 0.30)
    put(tmp_path, "component+silencing-seed+1", 1, 0.47, 0.24)
    put(tmp_path, "component+random-seed+2", 2, 0.30, 0.10, steps=11)
    return tmp_path


def test_rows_are_what_differs_in_more_than_the_seed(runs):
    assert {row.name: sorted(row.results) for row in read(runs)} == {
        "component+baseline": [0, 1],
        "component+random": [2],
        "component+silencing": [0, 1],
    }


def test_retrained_heads_are_rows_of_their_own(runs):
    for seed in (0, 1):
        put(runs / f"component+silencing-seed+{seed}", "retrained", seed, 0.5)
    (row,) = [row for row in read(runs) if "retrained" in row.name]
    assert row.name == "component+silencing, retrained"
    assert sorted(row.results) == [0, 1]


def test_a_row_whose_folder_has_a_cut_name_is_named_by_its_command(tmp_path):
    command = ["component=silencing", "auxiliary.neighbors_per_class=5", "auxiliary.sampling_ratio=[1,1,3]"]
    folder = run_folder(command, 0)
    put(tmp_path, folder, 0)
    assert [row.name for row in read(tmp_path)] == [row_of(folder)]
    record = {"config": {"seed": 0}, "starts": [{"command": ["lt_extrap.train", *command, "seed=0"]}]}
    (tmp_path / folder / "run.json").write_text(json.dumps(record))
    assert [row.name for row in read(tmp_path)] == [
        "component+silencing-auxiliary.neighbors_per_class+5-auxiliary.sampling_ratio+1_1_3"
    ]
    record["starts"][0]["command"][1] = "component=neighbors"  # the folder was given another run's name
    (tmp_path / folder / "run.json").write_text(json.dumps(record))
    assert [row.name for row in read(tmp_path)] == [row_of(folder)]


def test_pretrainings_and_runs_that_have_not_ended_are_found_apart(runs):
    (runs / "masked").mkdir()
    (runs / "masked" / "run.json").write_text(json.dumps({"kinds": {"backbone": "VisionTransformer"}}))
    (runs / "masked" / "results.json").write_text("{}")
    (runs / "component+unfinished-seed+0").mkdir()
    (runs / "component+unfinished-seed+0" / "run.json").write_text("{}")
    (runs / "refused-seed+0").mkdir()
    ended, pretrainings, others = find_runs(runs)
    assert len(ended) == 5
    assert [run.name for run in pretrainings] == ["masked"]
    assert [run.name for run in others] == ["component+unfinished-seed+0"]


def test_numbers_are_in_their_order(tmp_path):
    for value in ("1", "0.1", "10", "0", "5", "0.01", "1e-05"):
        put(tmp_path, f"loss.lambda_s+{value}-seed+0", 0)
    put(tmp_path, "loss.lambda_s+0.1-loss.tau+2-seed+0", 0)
    assert [row.name.removeprefix("loss.lambda_s+") for row in read(tmp_path)] == [
        *("0", "1e-05", "0.01", "0.1", "0.1-loss.tau+2", "1", "5", "10")
    ]


def test_means_deviations_and_paired_differences(runs):
    table = tabulate(read(runs))
    rows = {row[0]: dict(zip(table[0], row, strict=True)) for row in table[1:]}
    assert list(rows) == [
        "component+baseline",
        "component+random",
        "component+silencing",
        "component+silencing - component+baseline",
    ]
    assert rows["component+baseline"]["overall"] == "42.0 ± 2.8"
    assert rows["component+baseline"]["medium"] == "-"
    assert rows["component+random"]["overall"] == "30.0"
    assert rows["component+random"]["steps"] == "11"
    # by seed: 0.05 and 0.03; 0.10 and 0.14
    difference = rows["component+silencing - component+baseline"]
    assert (difference["overall"], difference["few"], difference["runs"]) == (
        "+4.0 ± 1.4",
        "+12.0 ± 2.8",
        "2",
    )


def test_the_last_weights(runs):
    assert tabulate(read(runs), weights="last")[1][2] == "21.0 ± 1.4"


def test_each_experiment_is_compared_with_its_own_baseline(tmp_path):
    for experiment, accuracy in (("a", 0.1), ("b", 0.6)):
        put(tmp_path / experiment, "component+baseline-seed+0", 0, accuracy)
        put(tmp_path / experiment, "component+silencing-seed+0", 0, accuracy + 0.1)
    put(tmp_path / "c", "component+silencing-seed+0", 0, 0.9)
    table = tabulate(read(tmp_path))
    assert [row[0] for row in table[1:]] == [
        *("a/component+baseline", "a/component+silencing", "b/component+baseline", "b/component+silencing"),
        "c/component+silencing",
        *("a/component+silencing - component+baseline", "b/component+silencing - component+baseline"),
    ]
    assert [row[2] for row in table[-2:]] == ["+10.0", "+10.0"]
    assert tabulate(read(tmp_path), baseline="component+silencing")[-1][:3] == [
        "b/component+baseline - component+silencing",
        "1",
        "-10.0",
    ]
    assert [row[0] for row in tabulate(read(tmp_path), baseline="a/component+silencing")[6:]] == [
        "a/component+baseline - component+silencing"
    ]


def test_another_tail_has_a_baseline_of_its_own(tmp_path):
    tails = {0: ("", 0.1), 1: ("-target.reshuffle+1", 0.6)}
    for number, (name, accuracy) in tails.items():
        put(tmp_path, f"component+baseline{name}-seed+0", 0, accuracy, target={"reshuffle": number})
        more = {"reshuffle": number, "neighbors": {"train": "another.txt"}}  # does not change what is tested
        put(tmp_path, f"component+silencing{name}-seed+0", 0, accuracy + 0.1, target=more)
    assert [(row[0], row[2]) for row in tabulate(read(tmp_path))[5:]] == [
        ("component+silencing - component+baseline", "+10.0"),
        ("component+silencing-target.reshuffle+1 - component+baseline-target.reshuffle+1", "+10.0"),
    ]
    run = tmp_path / "component+baseline-seed+0"
    assert row_name(run, run) == "component+baseline"


def test_the_shortest_baseline_counts_and_comes_first(runs):
    put(runs, "component+baseline-budget+20-seed+0", 0, 0.30)
    names = [row[0] for row in tabulate(read(runs))]
    assert names[1] == "component+baseline"
    assert "component+silencing - component+baseline" in names


def test_a_baseline_that_is_not_there(runs):
    with pytest.raises(RunError, match="component\\+random"):
        tabulate(read(runs), baseline="component+basline")


def test_without_a_baseline_there_are_no_differences(runs):
    rows = [row for row in read(runs) if "baseline" not in row.name]
    assert [row[0] for row in tabulate(rows)] == ["row", "component+random", "component+silencing"]


def test_two_runs_of_a_seed_in_a_row(runs):
    put(runs, "component+silencing", 0)
    with pytest.raises(RunError, match="one run a seed"):
        read(runs)


def test_settings_that_differ_are_found_by_key(tmp_path):
    put(tmp_path, "a-seed+0", 0, loss={"lambda_s": 0.1, "tau": 1.0}, logger={"name": "csv"}, data={"workers": 1})
    put(tmp_path, "b-seed+3", 3, loss={"lambda_s": 0.5, "tau": 1.0}, logger={"name": "wandb"}, data={"workers": 2})
    rows = read(tmp_path)
    assert varied(rows) == ["loss.lambda_s"]
    assert [row.settings["loss.lambda_s"] for row in rows] == [0.1, 0.5]
    assert varied(rows[:1]) == []


def test_markdown_lines_up(runs):
    lines = markdown(tabulate(read(runs))).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert len({line.count("|") for line in lines}) == 1


def test_csv_is_the_table(runs):
    table = tabulate(read(runs))
    write_table(runs / "new" / "table.csv", table[0], table[1:])
    with (runs / "new" / "table.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == table


def test_what_all_rows_have_is_told_once_and_each_has_the_baseline_of_its_own_overrides(tmp_path):
    """Else the gain of an adapter or a rate would be told as that of a component."""
    for rate in ("0.1", "0.2"):
        for component, accuracy in {"baseline": 0.3, "silencing": 0.4}.items():
            put(tmp_path, f"component+{component}-adapter+lora-recipe.blr+{rate}-seed+0", 0, accuracy + float(rate))
    put(tmp_path, "component+silencing-adapter+lora-recipe.blr+0.3-seed+0", 0, 0.9)
    rows = read(tmp_path)
    assert [row.label for row in rows][:2] == ["component+baseline-recipe.blr+0.1", "component+baseline-recipe.blr+0.2"]
    groups = groups_of(rows)
    assert {group.common() for group in groups} == {"in all rows: adapter=lora"}
    assert {group.name: [row.label for row in group.compared()] for group in groups} == {
        "recipe.blr=0.1": ["component+silencing-recipe.blr+0.1", "component+silencing-recipe.blr+0.3"],
        "recipe.blr=0.2": ["component+silencing-recipe.blr+0.2"],
    }
    (one,) = groups_of(rows, "component+baseline-recipe.blr+0.2")
    assert len(one.compared()) == 4


def test_a_row_of_nothing_but_what_all_have_is_called_default(tmp_path):
    put(tmp_path, "recipe.blr+0.1-seed+0", 0)
    put(tmp_path, "loss+ce-recipe.blr+0.1-seed+0", 0)
    assert sorted(row.label for row in read(tmp_path)) == ["default", "loss+ce"]
