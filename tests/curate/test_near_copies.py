import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from lt_extrap.curate.near_copies import HOW, OVERLAP, Copies, Pictures, copies_of, groups, look_at
from lt_extrap.curate.overlap import overlap
from lt_extrap.data.decode import decode_rgb


def picture(seed):
    """Blots of many sizes: what a photograph has of every frequency."""
    random = np.random.default_rng(seed)
    image = Image.new("RGB", (160, 120), tuple(random.integers(256, size=3)))
    draw = ImageDraw.Draw(image)
    for _ in range(60):
        x, y, size = random.integers(160), random.integers(120), int(4 + 36 * random.random() ** 2)
        draw.ellipse((x - size, y - size, x + size, y + size), tuple(random.integers(256, size=3)))
    return image


def saved(image, quality):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return decode_rgb("copy.jpg", data=file.getvalue())


def marked(image):
    copy = image.copy()
    ImageDraw.Draw(copy).text((30, 50), "stock photo", fill="white")
    return copy


COPIES = {
    "again": lambda image: saved(image, 50),
    "halved": lambda image: image.resize((80, 60)),
    "cropped": lambda image: image.crop((4, 2, 148, 110)),
    "cropped at one edge": lambda image: image.crop((16, 0, 160, 120)),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "marked": marked,
    "gray": lambda image: image.convert("L").convert("RGB"),
    "cropped, mirrored, again": lambda image: saved(
        image.crop((8, 6, 152, 114)).transpose(Image.Transpose.FLIP_LEFT_RIGHT), 60
    ),
}
ORIGINALS = [picture(seed) for seed in range(8)]


def features(identities):
    """As of a network that sees what is shown: near for copies, and for two classes of pictures."""
    kinds, own = np.random.default_rng(1).normal(size=(2, 24, 32))
    noise = np.random.default_rng(2).normal(0, 0.1, (len(identities), 32))
    return np.stack([kinds[i % 2] + 0.4 * own[i] for i in identities]).astype(np.float16) + noise.astype(np.float16)


def pictures(images, identities):
    return alone(images, features(identities))


def alone(images, features=None):
    return Pictures.of([look_at(image, *image.size) for image in images], features)


@pytest.mark.parametrize("kind", COPIES)
def test_copies_are_found(kind):
    originals = pictures(ORIGINALS, range(8))
    found = copies_of(pictures([COPIES[kind](image) for image in ORIGINALS], range(8)), originals)
    assert found.original.tolist() == [*range(8)]
    assert (found.agreement >= OVERLAP).all()


def test_other_pictures_with_near_features_are_no_copies():
    originals = pictures(ORIGINALS, range(8))
    others = pictures([picture(seed) for seed in range(100, 108)], range(8))
    found = copies_of(others, originals)
    assert (found.original == -1).all()
    assert (found.how == -1).all()
    assert np.isnan(found.agreement).all()


def test_which_search_found_a_copy():
    images = [ORIGINALS[3], COPIES["again"](ORIGINALS[4]), COPIES["cropped at one edge"](ORIGINALS[5])]
    found = copies_of(pictures(images, [3, 4, 5]), pictures(ORIGINALS, range(8)))
    assert [HOW[how] for how in found.how] == ["pixels", "hash", "features"]
    assert found.agreement[0] == 1
    without = copies_of(alone(images), alone(ORIGINALS))
    assert without.original.tolist() == [3, 4, -1]


def test_as_many_originals_are_looked_at_as_are_asked_for():
    """The nearest by features is another picture of the kind."""
    image, originals = pictures([COPIES["cropped at one edge"](ORIGINALS[5])], [3]), pictures(ORIGINALS, range(8))
    assert copies_of(image, originals, nearest=1).original.tolist() == [-1]
    assert copies_of(image, originals, nearest=4).original.tolist() == [5]


def test_what_is_said_of_an_image_depends_on_no_other():
    images = [COPIES[kind](ORIGINALS[k]) for k, kind in enumerate(COPIES)] + [ORIGINALS[0], picture(50)]
    all_of, originals = pictures(images, [*range(8), 0, 13]), pictures(ORIGINALS, range(8))
    whole = copies_of(all_of, originals)
    order = np.array([9, 3, 0, 8, 5, 7, 1, 2, 4, 6])
    part = Pictures(all_of.content[order], all_of.thumbnails[order], all_of.features[order])
    again = copies_of(part, originals)
    for one, other in zip(whole, again, strict=True):
        assert one[order].tobytes() == other.tobytes()


def test_blank_pictures_are_copies_of_equal_ones_alone():
    gray = [Image.new("RGB", (40, 30), (level,) * 3) for level in (90, 90, 200)]
    found = copies_of(pictures(gray, [1, 1, 1]), pictures(gray[:1], [1]))
    assert found.original.tolist() == [0, 0, -1]


def test_no_images_and_no_originals():
    none = Pictures.of([], np.empty((0, 32), np.float16))
    some = pictures(ORIGINALS[:2], range(2))
    assert copies_of(some, none).original.tolist() == [-1, -1]
    assert isinstance(copies_of(none, some), Copies)
    assert len(groups(none)) == 0


def test_groups_of_copies():
    images = [ORIGINALS[0], ORIGINALS[1], COPIES["cropped"](ORIGINALS[0]), picture(60), ORIGINALS[1]]
    images.append(COPIES["mirrored"](images[2]))
    identities = [0, 1, 0, 13, 1, 0]
    assert groups(pictures(images, identities)).tolist() == [0, 1, 0, 3, 1, 0]
    assert groups(pictures(images[::-1], identities[::-1])).tolist() == [0, 1, 2, 0, 1, 0]


def test_the_overlap_of_pictures():
    thumbnails = alone(ORIGINALS).thumbnails
    assert overlap(thumbnails, thumbnails) == pytest.approx(1.0, abs=1e-5)
    assert overlap(thumbnails, thumbnails[:, :, ::-1]) == pytest.approx(1.0, abs=1e-5)
    brighter = (thumbnails // 2 + 60).astype(np.uint8)
    assert overlap(thumbnails, brighter).min() > 0.99
    assert overlap(thumbnails, np.full_like(thumbnails, 7)).max() < 1e-4
    rolled = np.roll(thumbnails, 1, axis=0)
    assert overlap(thumbnails, rolled).max() < OVERLAP
    assert overlap(thumbnails, rolled) == pytest.approx(overlap(rolled, thumbnails), abs=1e-5)
    assert len(overlap(thumbnails[:0], thumbnails[:0])) == 0
