"""A gallery of 300,000 images: how long it takes to write, and to open in a browser.

Run from the repository's root: `python -m benchmarks.gallery`. The state is written without a curation, and its images
are a few files under many hashes: what is measured is pages, tables and the browser. Each page is opened from the disk
in a new browser, until all thumbnails that can be seen are there.
"""

import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
import numpy as np
from PIL import Image

from benchmarks.rows import Row, row, show, skipped
from lt_extrap.compose import from_hydra
from lt_extrap.config.curate import CurateConfig
from lt_extrap.curate.__main__ import curate
from lt_extrap.curate.curation import GALLERY, IMAGES
from lt_extrap.curate.gallery.thumbnails import thumbnail_of_reference
from lt_extrap.curate.stages.selection import BAND
from lt_extrap.curate.state import State
from lt_extrap.paths import conf_dir

TARGETS, NEIGHBORS, IMAGES_EACH = 1000, 5, 60
FILES = 100  # that all images are
WRITING_LIMIT_S, OPENING_LIMIT_S = 120.0, 2.0
PAGES = ("index.html", "classes/500.html")
# Resolved when all thumbnails in the window are there, with the milliseconds since the page was asked for.
_SHOWN = """() => new Promise(done => {
  const look = () => {
    const inside = [];
    for (const image of document.images) {  // in their order, down the page
      const place = image.getBoundingClientRect();
      if (place.top > innerHeight) break;
      if (place.width > 0 && place.bottom > 0) inside.push(image);
    }
    const there = inside.length && inside.every(image => image.complete && image.naturalWidth);
    if (there && document.readyState === "complete")
      done({ milliseconds: performance.now(), images: inside.length });
    else requestAnimationFrame(look);
  };
  look();
})"""


def run() -> list[Row]:
    """A row a page, and one of writing."""
    chromium = shutil.which("chromium")
    if chromium is None:
        return [skipped("a gallery of 300,000 images", "no chromium on the path")]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_many(folder, targets=TARGETS, neighbors=NEIGHBORS, images=IMAGES_EACH)
        began = time.monotonic()
        write_pages(folder)
        writing = time.monotonic() - began
        opening = [(page, seconds_to_open(chromium, folder / GALLERY / page)) for page in PAGES]
    of = f"a gallery of {TARGETS * NEIGHBORS * IMAGES_EACH:,} images"
    return [
        row(f"{of}, written, s: ours / limit", [(writing, WRITING_LIMIT_S)], 1.0),
        *(row(f"{of}, {page} opened, s: ours / limit", [(taken, OPENING_LIMIT_S)], 1.0) for page, taken in opening),
    ]


def composed(folder: Path) -> CurateConfig:
    """The configuration of `do=gallery` in a folder."""
    words = ["do=gallery", "target=embedded", "workers=0", f"folder={folder}"]
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = from_hydra(hydra.compose("curate", words))
    assert isinstance(config, CurateConfig)
    return config


def write_pages(folder: Path) -> None:
    """`do=gallery` in a folder."""
    curate(composed(folder))


@contextmanager
def browser(chromium: str, **options: Any) -> Iterator[Any]:
    """A new browser without a window; what a page reports as an error ends in one."""
    from playwright.sync_api import sync_playwright  # of the extra dev

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        try:
            yield opened.new_context(**options)
        finally:
            opened.close()


def seconds_to_open(chromium: str, page: Path) -> float:
    """Until what can be seen of a page is there."""
    with browser(chromium, viewport={"width": 1360, "height": 900}) as opened:
        tab = opened.new_page()
        tab.goto(page.as_uri(), wait_until="commit")
        return float(tab.evaluate(_SHOWN)["milliseconds"]) / 1000


def write_many(folder: Path, *, targets: int, neighbors: int, images: int) -> None:
    """Write the state of a curation of `targets * neighbors * images` images, and the files that they are.

    Args:
        folder: of the curation.
        targets: classes.
        neighbors: of each, which nobody else has.
        images: of each of those.
    """
    keys = [f"n{target * neighbors + rank:08}" for target in range(targets) for rank in range(neighbors)]
    hashes = [hashlib.sha256(f"{key} {i}".encode()).hexdigest() for key in keys for i in range(images)]
    names = [f"{file:02x}/{file:064x}.jpg" for file in range(min(FILES, len(hashes)))]
    rng = np.random.default_rng(0)
    for name in names:
        (folder / IMAGES / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((320, 240)).save(folder / IMAGES / name)
    cosines = np.round(rng.uniform(0.2, 0.9, len(hashes)), 4).tolist()

    def rows(of_image: Any) -> Iterator[tuple[Any, ...]]:
        return (of_image(i, keys[i // images], sha256) for i, sha256 in enumerate(hashes))

    content = hashlib.sha256(b"reference").digest()
    thumbnail = folder / GALLERY / thumbnail_of_reference(content)
    thumbnail.parent.mkdir(parents=True)
    Image.new("RGB", (192, 144), (90, 140, 110)).save(thumbnail)
    with State(folder) as state, state.transaction():
        state.set("target", "many")
        state.set("source", "many")
        state.set("candidates_per_class", str(images))
        state.set(BAND, json.dumps([[0.4, 1.000001]] * targets))
        state.write(
            "INSERT INTO target VALUES (?, ?, ?, '[]', NULL, ?, ?, ?)",
            [
                (
                    label,
                    f"c{label}",
                    f"target {label}",
                    "what it is, in a sentence",
                    40,
                    "few" if label % 2 else "medium",
                )
                for label in range(targets)
            ],
        )
        state.write(
            "INSERT INTO sought VALUES (?, ?, '[]', ?, 'what it is', '', 'file', 1)",
            [(key, f"neighbor {key}", key) for key in keys],
        )
        state.write(
            "INSERT INTO pair VALUES (?, ?, ?, NULL)",
            [(number // neighbors, key, number % neighbors + 1) for number, key in enumerate(keys)],
        )
        state.write(
            "INSERT INTO image VALUES (?, ?, 1, 320, 240, x'00', x'00', 50)",
            rows(lambda i, key, sha256: (sha256, names[i % len(names)])),
        )
        state.write(
            "INSERT INTO candidate (key, source, place, position, caption, creator, licence, form, ruled, sha256) "
            "VALUES (?, 'many', ?, ?, ?, 'somebody', 'CC BY 4.0', 'neighbor', '1', ?)",
            rows(
                lambda i, key, sha256: (key, f"{key}/{i}.jpg", i % images, f"a photograph of {key}, number {i}", sha256)
            ),
        )
        state.write(
            "INSERT INTO reference VALUES (?, 'train', ?, ?, NULL, NULL, NULL)",
            [(f"{label}/{number}.jpg", label, content) for label in range(targets) for number in range(8)],
        )
        state.write(
            "INSERT INTO selection VALUES (?, ?, ?, NULL, ?)",
            rows(
                lambda i, key, sha256: (
                    key,
                    sha256,
                    None if cosines[i] > 0.4 else "cosine",
                    json.dumps({str(i // images // neighbors): cosines[i]}),
                )
            ),
        )


if __name__ == "__main__":
    show(run())
