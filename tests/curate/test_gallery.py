"""The gallery: what its pages hold, and in a real browser what they do."""

import dataclasses
import json
import re
import shutil
import sqlite3
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pool import config

from benchmarks.gallery import browser, write_many, write_pages
from lt_extrap.curate.__main__ import curate
from lt_extrap.curate.gallery.exhibits import Picture, Strip
from lt_extrap.curate.gallery.pages import PICTURES, Axis, cut, linked
from lt_extrap.curate.records import Sought
from lt_extrap.curate.stages import selection
from lt_extrap.curate.stages.selection import BAND
from lt_extrap.curate.state import State
from lt_extrap.data.stored.reader import read_images, read_set
from lt_extrap.errors import RunError

HOSTILE = (
    "</script><script>window.owned = 1</script><img src=x onerror='window.owned = 2'>\" onfocus=\"owned = 3 \u202e&amp;"
)
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}


def strip(key: str, count: int) -> Strip:
    said = dict.fromkeys(
        ("reason", "because", "cosine", "verdict", "caption", "page", "creator", "licence", "licence_url")
    )
    image = {"file": "", "width": 1, "height": 1, "cosines": {}, "zone": "nowhere", "place": "", **said}
    pictures = [Picture(key=key, sha256=str(number), **image) for number in range(count)]
    return Strip(Sought(key, key, (key,)), 1, None, (), None, pictures, pictures, {})


@settings(max_examples=30)
@given(st.lists(st.integers(0, 25), max_size=8))
def test_all_pictures_are_on_some_page_in_their_order_and_no_page_is_too_long(sizes):
    pages = cut([strip(str(number), size) for number, size in enumerate(sizes)], most=10)
    shown = [(picture.key, picture.sha256) for page in pages for one in page for picture in one.pictures]
    assert shown == [(str(number), str(picture)) for number, size in enumerate(sizes) for picture in range(size)]
    assert all(sum(len(one.pictures) for one in page) <= 10 for page in pages)
    assert [one.sought.key for page in pages for one in page if not one.continued] == list(map(str, range(len(sizes))))
    assert all(page for page in pages) or not sizes


def test_an_axis_holds_all_cosines_and_the_band():
    axis = Axis.of([0.2, 0.9], (0.5, 0.8))
    places = [float(axis.at(value)[:-1]) for value in (0.2, 0.5, 0.8, 0.9)]
    assert 0 < places[0] < places[1] < places[2] < places[3] < 100
    assert float(axis.width[:-1]) == pytest.approx(places[2] - places[1], abs=0.01)
    assert axis.bounded
    assert not Axis.of([0.2], (0.5, 1.000001)).bounded
    assert Axis.of([], (-2.0, 2.0)).at(0.5) == "50.00%"


def test_only_addresses_of_the_web_are_links():
    assert linked("https://example.org/a") == "https://example.org/a"
    for address in (
        None,
        "",
        "javascript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "//a",
        "http://[",
        "JAVASCRIPT:x",
    ):
        assert linked(address) is None


class Elements(HTMLParser):
    """The elements of a page, with their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found = list[tuple[str, dict[str, str | None]]]()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def make_hostile(folder: Path) -> None:
    with sqlite3.connect(folder / "state.sqlite") as state:
        for table, columns in {
            "candidate": ("caption", "creator", "licence", "page", "licence_url"),
            "sought": ("name", "gloss", "proposer"),
            "target": ("name", "gloss"),
            "selection": ("because",),
        }.items():
            state.execute(
                f"UPDATE {table} SET " + ", ".join(f"{column} = ?" for column in columns), [HOSTILE] * len(columns)
            )
        state.execute("UPDATE candidate SET page = 'javascript:window.owned = 4'")
        state.execute("INSERT INTO refused VALUES (0, ?, ?, 'near_synonym', 0)", (f"name:{HOSTILE}", HOSTILE))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    write_many(folder, targets=2, neighbors=1, images=3)
    make_hostile(folder)
    write_pages(folder)
    return folder / "gallery"


def test_what_strangers_wrote_is_no_element_and_no_attribute(hostile):
    pages = sorted(hostile.rglob("*.html"))
    assert len(pages) == 5
    for page in pages:
        elements = Elements()
        elements.feed(page.read_text())
        tags = [tag for tag, _ in elements.found]
        assert tags.count("script") == 1
        assert not [attrs for _, attrs in elements.found for name in attrs if name.startswith("on")]
        assert not [
            attrs for _, attrs in elements.found if attrs.get("src") == "x" or "javascript:" in attrs.get("href", "")
        ]
    assert HOSTILE in [json.loads(attrs["data-about"])["caption"] for _, attrs in _of(pages, "data-about")]


def _of(pages, name):
    for page in pages:
        elements = Elements()
        elements.feed(page.read_text())
        yield from ((tag, attrs) for tag, attrs in elements.found if name in attrs)


def test_all_that_a_page_names_is_in_its_folder(hostile):
    for page in hostile.rglob("*.html"):
        elements = Elements()
        elements.feed(page.read_text())
        for _, attrs in elements.found:
            address = attrs.get("src") or attrs.get("href")
            if address:
                assert (page.parent / address).resolve().is_file(), address
                assert (page.parent / address).resolve().is_relative_to(hostile.resolve())


def test_a_gallery_that_is_written_again_forgets_what_is_gone(tmp_path):
    write_many(tmp_path, targets=2, neighbors=1, images=3)
    write_pages(tmp_path)
    before = {file: file.read_bytes() for file in (tmp_path / "gallery").rglob("*") if file.is_file()}
    write_pages(tmp_path)
    assert {file: file.read_bytes() for file in (tmp_path / "gallery").rglob("*") if file.is_file()} == before
    with sqlite3.connect(tmp_path / "state.sqlite") as state:
        gone = state.execute(
            "SELECT sha256, name FROM image JOIN selection USING (sha256) WHERE key = 'n00000000'"
        ).fetchone()
        state.execute("DELETE FROM selection WHERE sha256 = ?", gone[:1])
        (key,) = state.execute("SELECT key FROM pair WHERE target = 1").fetchone()
        of_target = (
            ("target", "label", 1),
            ("reference", "label", 1),
            ("pair", "target", 1),
            ("selection", "key", key),
        )
        for table, column, value in of_target:
            state.execute(f"DELETE FROM {table} WHERE {column} = ?", [value])
    said = tmp_path / "gallery" / "verdicts.json"
    said.write_text("{}")
    write_pages(tmp_path)
    assert said.is_file()  # no page of ours
    left = {file for file in (tmp_path / "gallery").rglob("*") if file.is_file()}
    assert {file.name for file in before.keys() - left} >= {"1.html", Path(gone[1]).name}
    assert len({file for file in left if file.suffix == ".jpg"}) == 3  # two of the class that is left, one of training


def test_classes_that_are_nobodys_neighbors_have_a_page_of_their_own(tmp_path):
    write_many(tmp_path, targets=1, neighbors=2, images=2)
    with sqlite3.connect(tmp_path / "state.sqlite") as state:
        state.execute("DELETE FROM pair")
        state.execute("UPDATE selection SET reason = 'suspect', because = 'target 0 (c0), 0.990'")
        state.execute("UPDATE setting SET value = '[[NaN, NaN]]' WHERE name = ?", (BAND,))
    write_pages(tmp_path)
    text = {
        name: (tmp_path / "gallery" / name).read_text()
        for name in ("classes/0.html", "classes/random.html", "leaks.html", "index.html")
    }
    assert "nan" not in text["classes/0.html"].partition("<main>")[2].partition("</main>")[0]
    assert text["classes/random.html"].count("it may be target 0 (c0), 0.990") == 2
    assert text["leaks.html"].count("may be target 0 (c0), 0.990") == 2
    assert "<b>2</b><span>classes that are paired with no target" in text["index.html"]


def test_nothing_is_shown_before_a_selection(tmp_path):
    write_many(tmp_path, targets=1, neighbors=1, images=1)
    with sqlite3.connect(tmp_path / "state.sqlite") as state:
        state.execute("DELETE FROM setting WHERE name = ?", (BAND,))
    with pytest.raises(RunError, match="do=selection"):
        write_pages(tmp_path)


@pytest.fixture(scope="module")
def chromium():
    pytest.importorskip("playwright", reason="playwright is of the extra dev")
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("no chromium on the path (apt install chromium)")
    return found


@pytest.mark.slow
def test_a_script_in_a_caption_does_not_run(hostile, chromium):
    with browser(chromium) as opened:
        page = opened.new_page()
        told = list[str]()
        page.on("dialog", lambda dialog: (told.append(dialog.message), dialog.dismiss()))
        page.on("console", lambda message: told.append(message.text))
        page.on("pageerror", lambda error: told.append(str(error)))
        for name in ("index.html", "names.html", "leaks.html", "classes/0.html"):
            page.goto((hostile / name).as_uri())
            assert page.evaluate("window.owned") is None
        page.locator(".p").first.click()
        assert page.locator("#view-caption").text_content() == HOSTILE
        assert page.locator("#view a").count() == 0
        assert page.evaluate("window.owned") is None
        assert told == []
        # What gets through the escaping meets the policy.
        broken = hostile / "broken.html"
        text = (hostile / "index.html").read_text()
        broken.write_text(
            text.replace("<main>", "<main><script>window.owned = 1</script><img src=x onerror='owned = 2'>")
        )
        page.goto(broken.as_uri())
        assert page.evaluate("window.owned") is None
        assert any("Content Security Policy" in message for message in told)
        broken.write_text(re.sub("<meta http-equiv.*", "", broken.read_text()))
        page.goto(broken.as_uri())
        assert page.evaluate("window.owned") is not None  # without the policy it would have run
        broken.unlink()


@pytest.mark.slow
def test_verdicts_go_from_the_browser_to_the_set_and_stay(made, curated, tmp_path, chromium, capsys):
    folder = shutil.copytree(curated, tmp_path / "state")
    words = ("images_per_class=6",)

    def run(*more):
        status = curate(dataclasses.replace(config(made, folder, *words, *more)))
        assert status == 0, capsys.readouterr().out

    run()
    run("do=gallery")
    pages = folder / "gallery" / "classes"
    with browser(chromium) as opened:
        page = opened.new_page()
        page.goto((pages / "0.html").as_uri())
        pictures = page.locator(".strip").first.locator(".p")
        page.keyboard.press("ArrowDown")
        assert pictures.first.evaluate("picture => picture === document.activeElement")
        gone = pictures.and_(page.locator("[data-was=kept]")).first
        wanted = pictures.and_(page.locator("[data-was=gone]:not([data-final])")).first
        dropped, kept = (one.get_attribute("data-image") for one in (gone, wanted))
        key = gone.get_attribute("data-key")
        gone.focus()
        page.keyboard.press("x")
        wanted.focus()
        page.keyboard.press("k")
        other = page.locator(".strip").nth(1).get_attribute("data-key")
        page.locator(".strip").nth(1).locator(".decide .drop").click()
        page.reload()  # what was said is still there
        assert page.locator("#save").text_content() == "Save 3 verdicts"
        with page.expect_download() as download:
            page.keyboard.press("s")
        download.value.save_as(tmp_path / "verdicts.json")
        assert page.locator("#save").text_content() == "Save again"
        with State(folder) as state:
            assert state.one("SELECT count(*) FROM verdict") == 0
        capsys.readouterr()
        run("do=review", f"review={tmp_path / 'verdicts.json'}")
        assert "verdicts: 3 new of 3; 3 in all" in capsys.readouterr().out
        for again in (False, True):
            if again:
                run("seed=1")  # another draw
            of_key = {}
            stored = read_set(folder / "set")
            for _, image in read_images(folder / "set"):
                of_key.setdefault(image.aux, set()).add(image.sha256)
            names = [record.name for record in stored.classes]
            chosen = of_key[names.index(key.removeprefix("name:"))]
            assert kept in chosen
            assert dropped not in chosen
            assert other.removeprefix("name:") not in names
        run("seed=1", "do=gallery")
        page.goto((pages / "0.html").as_uri())
        assert page.locator(f".p[data-image='{dropped}']").first.get_attribute("data-said") == "drop"
        assert page.locator(f".p[data-image='{kept}']").first.get_attribute("data-now") == "kept"
        assert not page.locator("#save").is_visible()  # they were taken in
        page.goto((folder / "gallery" / "names.html").as_uri())
        assert page.locator(f".row[data-key='{other}'] .drop").get_attribute("aria-pressed") == "true"
        page.locator(f".row[data-key='{other}'] .drop").click()  # takes it back
        with page.expect_download() as download:
            page.locator("#save").click()
        download.value.save_as(tmp_path / "verdicts.json")
    run("seed=1", "do=review", f"review={tmp_path / 'verdicts.json'}")
    assert other.removeprefix("name:") in [record.name for record in read_set(folder / "set").classes]


def _save(page, file):
    with page.expect_download() as download:
        page.locator("#save").click()
    download.value.save_as(file)
    page.locator("#saved-close").click()
    return [said["verdict"] for said in json.loads(file.read_text())["verdicts"]]


@pytest.mark.slow
def test_what_was_saved_is_taken_back_by_the_next_file(tmp_path, chromium):
    write_many(tmp_path, targets=1, neighbors=1, images=3)
    write_pages(tmp_path)
    with browser(chromium) as opened:
        page = opened.new_page()
        page.goto((tmp_path / "gallery" / "classes" / "0.html").as_uri())
        keep, save = page.locator(".decide .keep"), page.locator("#save")
        keep.click()
        keep.click()
        assert not save.is_visible()  # no file has it
        keep.click()
        assert _save(page, tmp_path / "verdicts.json") == ["keep"]
        keep.click()
        assert save.text_content() == "Save 1 verdict"
        assert _save(page, tmp_path / "verdicts.json") == [None]
        page.locator(".p").first.click()
        page.keyboard.press("Enter")  # closes it: the picture before would come unasked
        assert not page.locator("#view").is_visible()
        page.evaluate("document.activeElement.blur()")
        page.keyboard.press("Shift+X")  # of no class: none has the focus
        assert save.text_content() == "Save again"


@pytest.mark.slow
def test_verdicts_that_the_browser_does_not_keep_are_still_saved(tmp_path, chromium):
    write_many(tmp_path, targets=1, neighbors=1, images=3)
    write_pages(tmp_path)
    with browser(chromium) as opened:
        page = opened.new_page()
        page.goto((tmp_path / "gallery" / "classes" / "0.html").as_uri())
        page.locator(".decide .keep").click()
        page.evaluate(  # its room is full
            "for (let size = 1 << 23; size; size >>= 1) try { localStorage[size] = 'x'.repeat(size); } catch {}"
        )
        for picture in page.locator(".p").all():
            picture.focus()
            page.keyboard.press("x")
        assert _save(page, tmp_path / "verdicts.json") == ["keep", "drop", "drop", "drop"]


@pytest.mark.slow
def test_a_finger_does_what_keys_do(tmp_path, chromium):
    write_many(tmp_path, targets=1, neighbors=2, images=12)
    write_pages(tmp_path)
    with browser(chromium, **PHONE) as opened:
        page = opened.new_page()
        page.goto((tmp_path / "gallery" / "classes" / "0.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 390  # nothing to scroll sideways
        page.locator(".p").first.tap()
        page.locator("#view-drop").tap()
        page.locator("#on").tap()
        page.locator("#view-keep").tap()
        page.locator("#close").tap()
        page.locator(".decide .drop").nth(1).tap()
        said = [page.locator(".p").nth(number).get_attribute("data-said") for number in range(3)]
        assert said == ["drop", "keep", None]
        page.locator("[data-show=said]").tap()
        assert page.locator(".p:visible").count() == 2
        small = page.evaluate(
            "[...document.querySelectorAll('button, .steps a')].filter(one => one.getClientRects().length)"
            ".map(one => one.getBoundingClientRect()).filter(one => one.height < 36).length"
        )
        assert small == 0  # large enough for a finger


@pytest.mark.slow
def test_only_thumbnails_near_the_window_are_loaded(tmp_path, chromium):
    """`python -m benchmarks.gallery` has the seconds that 300,000 take."""
    write_many(tmp_path, targets=2, neighbors=5, images=PICTURES // 5)
    write_pages(tmp_path)
    loaded = "[...document.images].filter(image => image.complete && image.naturalWidth).length"
    # On a machine that has much to do, a browser loads what is 2500 pixels away: the page is many times as long.
    with browser(chromium, viewport={"width": 680, "height": 600}) as opened:
        page = opened.new_page()
        page.goto((tmp_path / "gallery" / "classes" / "1.html").as_uri())
        page.wait_for_function(f"{loaded} > 40")
        assert page.locator(".p").count() == PICTURES
        assert page.evaluate(loaded) < PICTURES / 2
        page.locator(".p").last.scroll_into_view_if_needed()
        page.wait_for_function(
            "document.images[document.images.length - 2].naturalWidth > 0"
        )  # the last is of the view


@pytest.mark.slow
def test_a_suspect_class_or_image_of_one_is_kept_by_a_person(made, curated, tmp_path, monkeypatch):
    # As features would that tell the targets apart; those of this world do not.
    monkeypatch.setattr(selection, "threshold", lambda targets, likeness: likeness)
    folder = shutil.copytree(curated, tmp_path / "state")
    words = ("filter.suspects=drop", "filter.likeness=0.1", "images_per_class=50")

    def suspected():
        assert curate(config(made, folder, "do=selection", *words)) == 0
        with State(folder) as state:
            return list(state.rows("SELECT key, sha256 FROM selection WHERE reason = 'suspect' ORDER BY key, sha256"))

    before = suspected()
    one, other = before[0], next(row for row in before if row[0] != before[0][0])
    with State(folder) as state, state.transaction():
        state.write("INSERT INTO verdict VALUES (?, ?, 'keep')", [(one[0], ""), other])
    with pytest.raises(RunError, match="do=selection"):  # the last one knew no verdict
        curate(config(made, folder, "do=export", *words))
    after = suspected()
    assert set(after) == {row for row in before if row[0] != one[0] and row != other}
