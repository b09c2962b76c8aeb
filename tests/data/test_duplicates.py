import io
import json
from itertools import combinations

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from lt_extrap.data.decode import decode_rgb
from lt_extrap.data.duplicates import AGREEMENT, DISTANCE, SIDE, agreement, mirrored, near_pairs, perceptual_hash
from lt_extrap.data.embedded import World, write_world


def pairs_of(one, other, distance):
    return {tuple(pair) for block in near_pairs(one, other, distance) for pair in block.tolist()}


@pytest.mark.parametrize("distance", [0, 1, 5, 8, 9, 12])
def test_near_pairs_are_those_of_two_loops(distance):
    random = np.random.default_rng(0)
    centres = random.integers(2**64, size=12, dtype=np.uint64)
    flips = np.array([sum(1 << int(bit) for bit in random.permutation(64)[: random.integers(14)]) for _ in range(300)])
    hashes = np.repeat(centres, 25) ^ flips.astype(np.uint64)
    for other in (hashes, mirrored(hashes)):
        wanted = {
            (i, j)
            for i, j in combinations(range(len(hashes)), 2)
            if (int(hashes[i]) ^ int(other[j])).bit_count() <= distance
        }
        assert pairs_of(hashes, other, distance) == wanted
        assert distance < 8 or len(wanted) > 10 or other is not hashes


def test_near_pairs_of_equal_hashes_come_in_bounded_blocks(monkeypatch):
    monkeypatch.setattr("lt_extrap.data.duplicates._BLOCK", 1000)
    hashes = np.zeros(200, np.uint64)
    blocks = [*near_pairs(hashes, hashes)]
    assert max(map(len, blocks)) <= 1000
    assert pairs_of(hashes, hashes, 0) == set(combinations(range(200), 2))


def test_no_pictures_have_no_hashes_and_no_pairs():
    none = perceptual_hash(np.empty((0, SIDE, SIDE), np.uint8))
    assert len(none) == 0
    assert [*near_pairs(none, none)] == []


def test_the_hash_of_a_mirror_image():
    pictures = np.random.default_rng(0).integers(256, size=(50, SIDE, SIDE), dtype=np.uint8)
    assert (perceptual_hash(pictures[:, :, ::-1]) == mirrored(perceptual_hash(pictures))).all()
    assert (perceptual_hash(pictures) != mirrored(perceptual_hash(pictures))).all()


def test_agreement_is_a_correlation():
    one = np.random.default_rng(0).integers(100, size=(3, SIDE, SIDE), dtype=np.uint8)
    assert agreement(one, one + 50) == pytest.approx(1.0, abs=1e-5)
    assert agreement(one, 255 - one) == pytest.approx(-1.0, abs=1e-5)
    expected = [np.corrcoef(one[i].ravel(), one[(i + 1) % 3].ravel())[0, 1] for i in range(3)]
    assert agreement(one, np.roll(one, -1, axis=0)) == pytest.approx(expected, abs=1e-5)
    assert (agreement(one, np.zeros_like(one)) == 0).all()  # and no division by 0


def thumbnail(image):
    return np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def saved(image, quality):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return decode_rgb("copy.jpg", data=file.getvalue())


@pytest.mark.parametrize(
    "change",
    [
        lambda image: saved(image, 50),
        lambda image: image.resize((image.width // 2, image.height // 2)),
        lambda image: image.convert("L").convert("RGB"),
        lambda image: ImageEnhance.Brightness(image).enhance(1.1),
    ],
    ids=["quality", "size", "gray", "bright"],
)
def test_changed_copies_are_near_and_other_pictures_are_not(cache, change):
    few = dict.fromkeys(("val_per_class", "neighbors_per_family", "random_classes", "extra_images"), 0)
    world = World(families=3, classes=9, largest=2, smallest=2, test_per_class=1, image_size=64, **few)
    paths = sorted((write_world(world, cache / "embedded") / "images").rglob("*.png"))
    images = [decode_rgb(path) for path in paths]
    one = np.stack([thumbnail(image) for image in images])
    copies = np.stack([thumbnail(change(image)) for image in images])
    distance = np.bitwise_count(perceptual_hash(one)[:, None] ^ perceptual_hash(copies))
    agreements = np.stack([agreement(one, np.roll(copies, -shift, axis=0)) for shift in range(len(one))], axis=1)
    found = (distance <= DISTANCE) & (agreements[:, :1] >= AGREEMENT)
    assert len(one) > 20
    assert found.diagonal().all()
    others = [(distance[i, (i + s) % len(one)], agreements[i, s]) for i in range(len(one)) for s in range(1, len(one))]
    assert not any(bits <= DISTANCE and value >= AGREEMENT for bits, value in others)


@pytest.mark.slow
def test_recall_on_photographs(real_data):
    folder = real_data / "photos"
    if not folder.is_dir():
        pytest.skip("LT_EXTRAP_DATA has no photos/")
    paths = [folder / entry["file"] for entry in json.loads((folder / "photos.json").read_text())]
    images = [decode_rgb(path) for path in paths]
    one = np.stack([thumbnail(image) for image in images])
    copies = np.stack([thumbnail(saved(image.resize((image.width // 2, image.height // 2)), 50)) for image in images])
    near = np.bitwise_count(perceptual_hash(one) ^ perceptual_hash(copies)) <= DISTANCE
    assert (near & (agreement(one, copies) >= AGREEMENT)).mean() == 1
    hashes = perceptual_hash(one)
    pairs = [pair for block in near_pairs(hashes, hashes) for pair in block.tolist()]
    assert not [(i, j) for i, j in pairs if agreement(one[i : i + 1], one[j : j + 1])[0] >= AGREEMENT]
