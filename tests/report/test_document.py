"""The files of a report: what they hold, and in a real browser how they look and what they let run."""

import csv
import json
import re
import shutil
import tarfile
from html.parser import HTMLParser
from pathlib import Path

import pytest
from made_runs import PAPER, make_experiment, make_run, rows_of
from omegaconf import OmegaConf

from benchmarks.gallery import browser
from lt_extrap.compose import configure, kinds, to_dict
from lt_extrap.report.__main__ import ReportConfig, task
from lt_extrap.report.document import breakable, make_report, page, write_report
from lt_extrap.report.published import count_superclasses
from lt_extrap.report.sections import section_of
from lt_extrap.report.sheet import as_csv
from lt_extrap.table import Group, find_runs

HOSTILE = "x <script>window.owned = 1<!script> & a|b_c $d"  # no slash: it is the name of a folder


class Elements(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, text):
        super().__init__()
        self.found, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def named(self, name):
        return [attrs for tag, attrs in self.found if tag == name]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    make_experiment(root / HOSTILE, 2, retrained=True, names=("</td><script>window.owned = 2</script>",))
    for component in ("baseline", "random", "silencing"):
        make_run(root / "paper", component, 0, config=PAPER)
    make_run(root / "paper", "random", 0, retrained=True, config=PAPER)
    make_run(root / "old", "baseline", 0, per_class=False)
    (root / "old" / "component+random-seed+0").mkdir()
    (root / "old" / "component+random-seed+0" / "run.json").write_text("{}")
    output = tmp_path_factory.mktemp("report")
    task(OmegaConf.structured(ReportConfig(runs=str(root), output=str(output))))
    return output


def test_a_report_is_a_page_markdown_and_tables(written):
    elements = Elements((written / "report.html").read_text())
    keys = {file.stem for file in (written / "tables").iterdir()}
    assert {"commands", "versions", "files", "granularity", "not-ended", "e3-differences", "e1-accuracy"} <= keys
    assert {attrs["id"] for attrs in elements.named("div") if attrs.get("class") == "table"} == keys
    assert len(elements.named("table")) == len(keys)
    assert (written / "report.md").read_text().count("\n## ") == len(elements.named("section"))
    for key, seeds in (("e2", 1), ("e3", 2)):
        with (written / "tables" / f"{key}-differences.csv").open(newline="") as file:
            rows = {(row["row"], row["measure"]): row for row in csv.DictReader(file)}
        told = rows["component+silencing", "overall"]
        assert float(told["95 % interval from"]) < float(told["difference mean"]) < float(told["95 % interval to"])
        assert (told["seeds"], told["p"] == "") == (str(seeds), seeds == 1)


def test_the_page_needs_nothing_else_and_nothing_in_it_runs(written):
    text = (written / "report.html").read_text()
    elements = Elements(text)
    assert not elements.named("script")
    assert not elements.named("link")
    assert not elements.named("img")
    assert not [
        attrs for _, attrs in elements.found if "style" in attrs or any(name.startswith("on") for name in attrs)
    ]
    assert all(attrs["href"].startswith("#") for _, attrs in elements.found if attrs.get("href"))
    assert not re.findall("https?://", re.sub(r"http://www\.w3\.org/", "", text))
    assert HOSTILE in elements.text


def test_the_page_can_be_heard(written):
    elements = Elements((written / "report.html").read_text())
    ids = [attrs["id"] for _, attrs in elements.found if "id" in attrs]
    assert len(ids) == len(set(ids))
    for attrs in elements.named("th"):
        assert attrs["scope"] in ("col", "row", "rowgroup")
    for _, attrs in elements.found:
        assert set(attrs.get("aria-labelledby", "").split()) <= set(ids)
        if (target := attrs.get("href") or "").startswith("#"):
            assert target[1:] in ids
    charts = elements.named("svg")
    assert len(charts) == (1 + 7) + (1 + 3)
    assert all(attrs["role"] == "img" and len(attrs["aria-labelledby"].split()) == 2 for attrs in charts)
    assert "few: " in elements.text  # what a chart shows, in words


def test_the_papers_numbers_stand_beside_ours(written):
    with (written / "tables" / "e2-paper-table-6-dinov2.csv").open(newline="") as file:
        rows = {row["row"]: row for row in csv.DictReader(file)}
    assert rows["+ Direct Classifier"]["paper, few"] == "76.2"
    assert rows["+ Direct Classifier"]["ours, few mean"] != ""
    assert rows["+ Random Category"]["our runs"] == "1"  # the retrained one
    assert rows["+ Random Category"]["our row"] == "component+random, retrained"
    assert rows["+ Neighbor Silencing"]["ours, few mean"] == rows["+ Neighbor Silencing"]["our row"] == ""
    with (written / "tables" / "e2-paper-table-2-dinov2-differences.csv").open(newline="") as file:
        rows = {row["row"]: row for row in csv.DictReader(file)}
    assert (rows["+ Ours"]["paper, few"], rows["+ RD"]["paper, overall"]) == ("5.1", "-2.4")
    assert not list((written / "tables").glob("e[13]-paper*"))  # another data set


def test_what_cannot_be_compared_is_said(tmp_path):
    make_run(tmp_path / "seeds", "baseline", 0)
    make_run(tmp_path / "seeds", "silencing", 1)
    make_run(tmp_path / "alone", "random", 0)
    report = make_report(rows_of(tmp_path), title="apart")
    text = write_report(report, tmp_path / "out").with_name("report.md").read_text()
    assert "with which they share no seed: component+silencing." in text
    assert "no row is a baseline" in text
    assert text.count("No table of the paper stands beside these rows.") == 2
    assert Elements(page(report)).text.count("share no seed") == 1
    assert not [sheet.key for sheet in report.sheets() if sheet.key.endswith("-differences")]


def test_a_report_of_groups_without_images_and_of_no_rows_is_written(tmp_path):
    make_experiment(tmp_path / "runs", 2, config=PAPER)
    rows = rows_of(tmp_path / "runs")
    for row in rows:
        for result in row.results.values():
            result["test"]["acc_few"] = None
    write_report(make_report(rows, title="no few"), tmp_path / "out")
    with (tmp_path / "out" / "tables" / "e1-paper-table-2-dinov2.csv").open(newline="") as file:
        ours = next(csv.DictReader(file))
    assert (ours["our row"], ours["ours, few mean"]) == ("component+baseline", "")
    assert write_report(make_report([], title="none"), tmp_path / "none").is_file()
    text = [*section_of(Group("empty", [], None), "e1", {}, "test").text]
    assert text == ["No differences: no row is a baseline (component+baseline..., or the one that baseline= names)."]


def test_how_to_repeat_it(written):
    with (written / "tables" / "commands.csv").open(newline="") as file:
        commands = {row["row"]: row["command"] for row in csv.DictReader(file)}
    silencing = f"{HOSTILE}/component+silencing"
    assert commands[silencing] == "python -m lt_extrap.train -m experiment=made component=silencing seed=0,1"
    assert commands[f"{silencing}, retrained"].count("classifier=retrained") == 2
    assert commands["paper/component+silencing"].endswith("component=silencing seed=0")


def test_it_is_the_same_again_and_leaves_what_is_not_its_own(tmp_path):
    for component in ("baseline", "silencing"):
        make_run(tmp_path / "runs", component, 0)
    report = make_report(rows_of(tmp_path / "runs"), title="again")
    assert page(report) == page(make_report(rows_of(tmp_path / "runs"), title="again"))
    (tmp_path / "tables").mkdir()
    for name in ("e9-accuracy.csv", "mine.csv"):
        (tmp_path / "tables" / name).write_text("")
    write_report(report, tmp_path)
    assert not (tmp_path / "tables" / "e9-accuracy.csv").exists()
    assert (tmp_path / "tables" / "mine.csv").exists()


def test_one_run_of_an_older_version(tmp_path):
    results = Path(__file__).parents[2] / "docs" / "results" / "tiny_imagenet_lt"
    shutil.copytree(results / "component+silencing-seed+0", tmp_path / "component+silencing-seed+0")
    assert len(find_runs(tmp_path)[0]) == 1
    report = make_report(rows_of(tmp_path), title="one")
    keys = [sheet.key for sheet in report.sheets()]
    assert keys == ["e1-accuracy", "e1-cost", "commands", "versions", "files"]
    assert "did not keep it" in Elements(page(report)).text


def test_what_runs_took_is_told_of_each_device_by_itself(tmp_path):
    devices = (("CPU", 1800, 31.0), ("NVIDIA H100", 50, 900.0), ("CPU", 2000, 29.0), (None, 60, 800.0))
    for seed, (device, seconds, speed) in enumerate(devices):
        file = make_run(tmp_path, "baseline", seed) / "results.json"
        results = json.loads(file.read_text()) | {"seconds": seconds, "time": {"images_per_second": speed}}
        results.pop("device")
        file.write_text(json.dumps(results | ({"device": device} if device else {})))
    rows = rows_of(tmp_path)
    (cost,) = (sheet for sheet in make_report(rows, title="one").sheets() if sheet.key == "e1-cost")
    told = list(csv.DictReader(as_csv(cost).splitlines()))
    assert [(line["device"], line["runs"], float(line["time seconds"]), float(line["images/s"])) for line in told] == [
        ("CPU", "2", 1900, 30),
        ("NVIDIA H100", "1", 50, 900),
        ("not told", "1", 60, 800),
    ]
    assert {line["row"] for line in told} == {"component+baseline"}
    assert "31.7 min" in cost.shown()[0]
    assert any("do not tell their device" in note for note in cost.notes)
    for result in rows[0].results.values():
        result["device"] = "CPU"
    (cost,) = (sheet for sheet in make_report(rows, title="one").sheets() if sheet.key == "e1-cost")
    assert len(cost.rows) == len(cost.notes) == 1


def test_a_report_reads_and_makes_nothing(tmp_path, monkeypatch):
    """No world is drawn, no archive unpacked, nothing fetched: what classes belong to is read, or not told."""
    cache, data = tmp_path / "cache", tmp_path / "data"
    monkeypatch.setenv("LT_EXTRAP_CACHE", str(cache))
    monkeypatch.setenv("LT_EXTRAP_DATA", str(data))
    data.joinpath("tiny_imagenet").mkdir(parents=True)
    tarfile.open(data / "tiny_imagenet" / "images.tar", "w").close()
    entry = {"name": "a", "hypernyms": [{"wnid": "n1", "name": "entity"}]}
    data.joinpath("tiny_imagenet", "classes.json").write_text(json.dumps({"target": [entry]}))
    for experiment in ("demo", "tiny_imagenet_lt", "cifar100_lt"):
        config = configure(f"experiment={experiment}")
        made = {**to_dict(config), "kinds": kinds(config)}
        make_run(tmp_path / "runs" / experiment, "baseline", 0, config=made)
    report = make_report(rows_of(tmp_path / "runs"), title="read")
    (sets,) = (sheet for sheet in report.sheets() if sheet.key == "granularity")
    above = {row[0]: row[3] for row in sets.rows}
    assert (above["demo"], above["tiny_imagenet_lt"], above["cifar100_lt"]) == (8, 1, None)
    assert not cache.exists()


def test_superclasses_are_cut_from_the_taxonomy():
    path = [{"wnid": f"n{depth}", "name": str(depth)} for depth in range(1, 13)]
    deep = [{"hypernyms": path}, {"hypernyms": [*path[:9], {"wnid": "other", "name": "o"}]}]
    assert count_superclasses(deep) == 1
    assert count_superclasses([*deep, {"hypernyms": [{"wnid": None, "name": "family"}]}]) == 2
    assert count_superclasses([{"supercategory": "Aves"}, {"supercategory": "Plantae"}]) == 2
    assert count_superclasses([*deep, {"name": "without"}]) is None
    assert count_superclasses(["a", "b"]) is None


def test_names_break_where_they_may():
    assert breakable("component+a<b-c_d") == "component+<wbr>a&lt;b<wbr>-c_d"


@pytest.fixture(scope="module")
def chromium():
    pytest.importorskip("playwright", reason="playwright is of the extra dev")
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("no chromium on the path (apt install chromium)")
    return found


@pytest.mark.slow
def test_a_browser_shows_it_light_and_dark_and_on_a_phone(written, chromium):
    told, colors = [], {}
    for scheme in ("light", "dark"):
        for width in (1200, 390):
            with browser(chromium, viewport={"width": width, "height": 800}, color_scheme=scheme) as opened:
                shown = opened.new_page()
                shown.on("console", lambda message: told.append(message.text))
                shown.on("pageerror", lambda error: told.append(str(error)))
                shown.on(
                    "request", lambda request: told.append(request.url) if "report.html" not in request.url else None
                )
                shown.goto((written / "report.html").as_uri())
                assert shown.evaluate("window.owned") is None
                # Only tables scroll sideways, and charts are as wide as the screen lets them.
                assert shown.evaluate("document.documentElement.scrollWidth") == width
                boxes = shown.evaluate(
                    "[...document.querySelectorAll('svg')].map(one => one.getBoundingClientRect().width)"
                )
                assert min(boxes) > 280
                assert max(boxes) <= min(width, 520)
                colors[scheme] = shown.evaluate(
                    "[getComputedStyle(document.body).backgroundColor, "
                    "...[...document.querySelectorAll('svg text')].slice(0, 3).map(one => getComputedStyle(one).fill)]"
                )
    assert told == []
    assert colors["light"][0] != colors["dark"][0]
    assert colors["light"][1:] != colors["dark"][1:]
    for scheme in ("light", "dark"):
        assert colors[scheme][0] not in colors[scheme][1:]
