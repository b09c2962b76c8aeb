"""The card of a set: what hubs read of it, what it says, and that nothing from elsewhere is more than text in it."""

import json
from collections import Counter
from dataclasses import asdict, replace

import numpy as np
import pytest
from huggingface_hub import DatasetCard
from markdown_it import MarkdownIt

from lt_extrap.data.stored.card import Tally, card
from lt_extrap.data.stored.reader import read_provenance
from lt_extrap.data.stored.schema import ClassRecord, Comparison, Fate, Header, ImageRecord, PairRecord, Provenance
from lt_extrap.data.stored.verifier import verify
from lt_extrap.data.stored.writer import write_set
from lt_extrap.data.target import ClassTable
from lt_extrap.errors import DataError

HOSTILE = (
    "<script>alert(1)</script>",
    "a | b",
    "[here](https://evil.example)",
    "![x](https://evil.example/x.png)",
    "`rm -rf` *all* __of__ ~~it~~",
    "&lt;b&gt; $x^2$ @somebody #1",
    "</details>",
    r"back\slash\|pipe",
)
MADE = Provenance(
    settings={"proposer": "wordnet", "filter": "calibrated", "filter.quantile_low": "0.05", "seed": "0"},
    fates=[
        Fate("neighbors", "hypernym", "few", 3),
        Fate("candidates", "caption", "few", 10),
        Fate("selection", "copy_of_test", "many", 2),
        Fate("selection", "cosine", "few", 85),
        Fate("kept", None, "few", 5),
        Fate("kept", None, "many", 98),
    ],
    left_out={},
    failures={},
    compared=[Comparison("test", 3000, 1), Comparison("train", 600, 0)],
    notes=["These features have seen the labels."],
)


def written(
    folder, made=MADE, *, names=("dace", "roach"), licences=("CC BY 4.0", "CC0 1.0"), notes=(), paired=True
) -> str:
    table = ClassTable(("n00000001", "n00000002"), ("tench", names[0]), np.array([200, 5]))
    images = [ImageRecord(f"{aux}/{i}.png", aux, licence=licences[i]) for aux in range(len(names)) for i in range(2)]
    write_set(
        folder,
        target="fish",
        table=table,
        classes=[ClassRecord(aux, name) for aux, name in enumerate(names)],
        pairs=[PairRecord("n00000001", "tench", 0, 1), PairRecord("n00000002", names[0], 0, 1)] if paired else [],
        images=iter(images),
        notes=notes,
        provenance=made,
    )
    return (folder / "README.md").read_text()


def body(text: str) -> str:
    return text.split("\n---\n", 1)[1]


def row(text: str, first: str) -> str:
    (found,) = (line for line in text.splitlines() if line.startswith(f"| {first} |"))
    return found


def test_what_it_says_of_a_curation(tmp_path):
    text = written(tmp_path / "set")
    assert "| Compared with evaluation images | yes: 3,000 test |" in text
    assert "**No validation images were compared**" in text
    assert row(text, "test") == "| test | 3,000 | 1 | 2 |"
    assert row(text, "`hypernym`").endswith("| 0 | 0 | 3 | 3 |")
    assert row(text, "**found**").endswith("| 100 | 0 | 100 | 200 |")
    assert row(text, "`cosine`").endswith("| 0 | 0 | 85 | 85 |")
    assert row(text, "**kept**").endswith("| 98 | 0 | 5 | 103 |")
    assert "| 98% | - | 5% | 52% |" in text
    assert "hard on what is near few-shot targets: 5% of the candidates were kept there, 52% of all" in text
    assert "`filter.quantile_low=0.05`" in text
    assert "- These features have seen the labels." in text
    assert "2 of 2 classes have fewer than 10 images: dace, roach." in text
    assert "| tench | many | 200 | 2 | dace (2) |" in text
    assert row(text, "roach") == "| roach | 2 |"  # nobody's neighbor


def test_without_pairs_it_says_nothing_of_likeness(tmp_path):
    text = written(tmp_path / "set", replace(MADE, settings={"proposer": "random"}), paired=False)
    assert "they are drawn at random, less targets, and need not be like them" in text
    assert "component=random target.random.folder=<this folder> target.random.neighbors_per_class=null" in text
    assert "they are paired with none of those" in written(tmp_path / "unknown", None, paired=False)
    for word in ("like those and none", "near those of a target", "target.neighbors", "nobody's"):
        assert word not in text


def test_what_nobody_knows_is_said(tmp_path):
    text = written(tmp_path / "set", None, licences=(None, "CC0 1.0"))
    assert "| Compared with evaluation images | **not known** |" in text
    assert "**Of 50% of the images no licence is known.**" in text
    assert "Not by a curation of lt-extrap" in text
    assert not (tmp_path / "set" / "provenance.json").exists()
    assert read_provenance(tmp_path / "set") is None
    none = replace(MADE, compared=[])
    assert "| Compared with evaluation images | **no** |" in written(tmp_path / "none", none)


@pytest.mark.parametrize(
    ("robots", "opt_out", "said"),
    [
        (None, None, ["Nothing was downloaded"]),
        ("true", "true", ["**obeyed**; 7 images", "**obeyed**; 0 images"]),
        ("false, true", "true", ["for a part of them **not obeyed**", "**obeyed**; 0 images"]),
        ("false", "false", ["robots.txt (RFC 9309): **not obeyed**", "Content-Signal): **not obeyed**"]),
    ],
)
def test_whose_reservations_were_obeyed(tmp_path, robots, opt_out, said):
    settings = {"download.robots": robots, "download.opt_out": opt_out} if robots else {}
    text = written(tmp_path / "set", replace(MADE, settings=settings, failures={"robots": 7}))
    lines = text.partition("## Sources")[2]
    assert all(part in lines for part in said)


@pytest.mark.parametrize(
    ("licences", "known"),
    [
        (("CC BY 4.0", "CC0 1.0"), ["cc-by-4.0", "cc0-1.0"]),
        ((None, "CC BY-SA 4.0"), ["cc-by-sa-4.0", "unknown"]),
        (("CC BY 4.0", "ask my mother"), "other"),
    ],
)
def test_what_hubs_read(tmp_path, licences, known):
    data = DatasetCard(written(tmp_path / "set", licences=licences)).data
    assert data.license == known
    assert data.task_categories == ["image-classification"]
    assert data.size_categories == ["n<1K"]
    files = {found["data_files"] for found in data.to_dict()["configs"]}
    assert all((tmp_path / "set" / file).is_file() for file in files)


def test_nothing_from_elsewhere_is_more_than_text(tmp_path):
    made = replace(
        MADE,
        settings={"proposer": HOSTILE[4], "source": "a | b", "names.x": "</code><script>"},
        fates=[Fate("selection", text, "few", 1) for text in HOSTILE],
        left_out=dict.fromkeys(HOSTILE, 1),
        failures=dict.fromkeys(HOSTILE, 1),
        notes=list(HOSTILE),
    )
    text = written(tmp_path / "set", made, names=HOSTILE, licences=(HOSTILE[0], HOSTILE[2]), notes=HOSTILE)
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(body(text))
    inside = [child for token in tokens for child in token.children or ()]
    assert not [child for child in inside if child.type in ("link_open", "image", "html_inline", "s_open")]
    blocks = "".join(token.content for token in tokens if token.type == "html_block")
    assert blocks.count("<") == 4 * 2  # details and summary, opened and closed, twice
    shown = ["".join(child.content for child in token.children) for token in tokens if token.type == "inline"]
    assert all(shown.count(text) >= 4 for text in HOSTILE)
    columns = {line.count(" | ") for line in text.splitlines() if line.startswith("| ") and "a \\| b" in line}
    assert max(columns) < 6


def test_of_many_classes_those_with_the_fewest_images_are_shown():
    count = 1200
    names = tuple(f"class {i}" for i in range(count))
    table = ClassTable(names, names, np.full(count, 5))
    header = Header(1, "fish", "a test", 0, count, count)
    pairs = [PairRecord(name, name, i, 1) for i, name in enumerate(names)]
    tally = Tally(Counter({i: count - i for i in range(count)}))
    text = card(header, table, [ClassRecord(i, name) for i, name in enumerate(names)], pairs, tally)
    assert "<summary>the 1,000 of 1,200 target classes with the fewest images</summary>" in text
    assert "| class 1199 |" in text
    assert "| class 0 |" not in text


def test_how_a_set_was_made_is_read_again(tmp_path):
    written(tmp_path / "set")
    assert read_provenance(tmp_path / "set") == MADE


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"settings": {"a b": "1"}}, "no key of a command"),
        ({"settings": {"a": "\n# x"}}, "not a line of text"),
        ({"settings": []}, "settings"),
        ({"fates": [{"stage": "kept", "reason": None, "shot": "few", "count": -1}]}, "count -1"),
        ({"fates": [[]]}, "TypeError"),
        ({"compared": None}, "TypeError"),
        ({"left_out": {"a": "1"}}, "left_out"),
        ({"notes": ["a" * (1 << 20)]}, "more than 1,048,576 bytes"),
        ({"more": 1}, "unexpected keyword argument"),
    ],
)
def test_how_a_set_was_made_is_not_trusted(tmp_path, change, said):
    written(tmp_path / "set")
    (tmp_path / "set" / "provenance.json").write_text(json.dumps(asdict(MADE) | change))
    with pytest.raises(DataError, match=said):
        read_provenance(tmp_path / "set")
    found = []
    verify(tmp_path / "set", found.append)
    assert [finding.file for finding in found if finding.file == "provenance.json"] == ["provenance.json"]
