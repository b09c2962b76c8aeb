import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lt_extrap.data import resident
from lt_extrap.data.lists import read_list
from lt_extrap.data.resident import ResidentImages, resize, room
from lt_extrap.data.store import Folder
from lt_extrap.data.transforms import EvalTransform, PaddedCrop, TrainTransform, View
from lt_extrap.errors import ConfigError, DataError
from lt_extrap.keys import Stream, generator

CPU = torch.device("cpu")


def noise(width, height, seed=0):
    """No neighbouring pixels agree, and many are black or white: the hardest to round and to clip alike."""
    values = np.random.default_rng(seed).integers(-200, 456, (height, width, 3)).clip(0, 255)
    return Image.fromarray(values.astype(np.uint8))


def stacked(images):
    return torch.stack([torch.from_numpy(np.array(image)).permute(2, 0, 1) for image in images])


def resized(images, views, transform):
    return resize(
        stacked(images),
        torch.tensor([view.box for view in views], dtype=torch.float32),
        torch.tensor([view.flip for view in views]),
        torch.tensor([view.shift for view in views]),
        size=transform.size,
        interpolation=transform.interpolation,
        resampler=transform.resampler,
    )


@st.composite
def spans(draw, length, whole):
    """Two places in 0..length, at whole pixels or anywhere, as 32-bit floats."""
    if whole:
        begin = draw(st.integers(0, length - 1))
        return begin, draw(st.integers(begin + 1, length))
    begin, end = sorted(draw(st.lists(st.floats(0, length, width=32), min_size=2, max_size=2)))
    return (begin, end) if end - begin > 0.01 else (0.0, float(length))


@settings(deadline=None, max_examples=100)
@given(
    st.data(),
    st.integers(1, 90),
    st.integers(1, 90),
    st.integers(1, 70),
    st.sampled_from(["bicubic", "bilinear"]),
    st.booleans(),
)
def test_the_bytes_are_those_of_the_loader(data, width, height, size, interpolation, crops_first):
    views = []
    for _ in range(3):
        whole = crops_first or data.draw(st.booleans())
        (left, right), (upper, lower) = data.draw(spans(width, whole)), data.draw(spans(height, whole))
        moves = st.just((0, 0)) if crops_first else st.tuples(*[st.integers(1 - size, size - 1)] * 2)
        views.append(View((left, upper, right, lower), data.draw(st.booleans()), data.draw(moves)))
    images = [noise(width, height, seed) for seed in range(3)]
    transform = (
        TrainTransform(size=size, interpolation=interpolation)
        if crops_first
        else PaddedCrop(size=size, padding=0, interpolation=interpolation)
    )
    expected = torch.stack([transform.apply(image, view) for image, view in zip(images, views, strict=True)])
    assert torch.equal(resized(images, views, transform), expected)


@pytest.mark.parametrize("crop_fraction", [0.875, 1.0])
@pytest.mark.parametrize(("width", "height"), [(64, 64), (500, 375), (31, 20)])
def test_the_bytes_of_evaluation_are_those_of_pillow(width, height, crop_fraction):
    image, transform = noise(width, height), EvalTransform(size=48, crop_fraction=crop_fraction)
    assert torch.equal(resized([image], [transform.draw(width, height)], transform)[0], transform(image))


@pytest.fixture
def listed(tmp_path):
    """Write images and list them."""

    def write(images):
        for i, image in enumerate(images):
            if image is None:
                (tmp_path / f"{i}.png").write_bytes(b"")
            else:
                image.save(tmp_path / f"{i}.png")
        (tmp_path / "list.txt").write_text("".join(f"{i}.png {i % 3}\n" for i in range(len(images))))
        return read_list(tmp_path / "list.txt"), tmp_path

    return write


def kept(index, folder, *, transform=None, workers=0, room=10**9):
    transform = transform or TrainTransform(size=8)
    return ResidentImages(index, Folder(folder), transform, 5, device=CPU, workers=workers, room=room)


@pytest.mark.parametrize(
    ("transform", "workers"),
    [(TrainTransform(size=8), 0), (TrainTransform(size=8), 2), (PaddedCrop(size=8, padding=3), 0)],
)
def test_views_are_a_function_of_seed_epoch_and_sample(listed, monkeypatch, transform, workers):
    monkeypatch.setattr(resident, "_CHUNK", 3)  # several, so that each row finds its place
    images = [noise(12, 10, seed) for seed in range(8)]
    held = kept(*listed(images), transform=transform, workers=workers)
    assert torch.equal(held.pixels, stacked(images))
    for epoch in range(3):
        keys = [(epoch, sample) for sample in (7, 0, 7, 4)]
        items = [held[key] for key in keys]
        assert [(label, sample) for _, label, sample in items] == [(1, 7), (0, 0), (1, 7), (1, 4)]
        expected = [transform(images[sample], generator(Stream.AUGMENT, 5, *key)) for key in keys for sample in key[1:]]
        assert torch.equal(held.render([shown for shown, _, _ in items]), torch.stack(expected))


def test_unreadable_images_are_said_and_the_others_keep_their_places(listed, monkeypatch):
    monkeypatch.setattr(resident, "_CHUNK", 2)  # the first chunk has no image at all
    images = [None, None, noise(9, 9, 1), None, noise(9, 9, 2)]
    held = kept(*listed(images))
    assert sorted(held.unreadable) == [0, 1, 3]
    assert "3.png: not an image of a known format" in str(held[0, 3])
    assert torch.equal(held.pixels[[2, 4]], stacked([images[2], images[4]]))
    with pytest.raises(DataError, match=r"none of 2: .*0\.png"):
        kept(*listed([None, None]))


def test_sizes_that_differ_are_named(listed):
    images = [None, noise(9, 7), noise(9, 7), noise(7, 9), noise(5, 5)]
    with pytest.raises(DataError, match=r"1\.png has 9 x 7 pixels, .*3\.png has 7 x 9 pixels") as error:
        kept(*listed(images))
    assert "data.resident=false" in error.value.remedy


def test_what_takes_too_much_memory_is_refused_in_bytes(listed):
    index, folder = listed([noise(10, 20)] * 3)
    assert kept(index, folder, room=1800).pixels.nbytes == 1800
    with pytest.raises(ConfigError, match=re.escape("3 images of 10 x 20 pixels: 1,800 bytes")) as error:
        kept(index, folder, room=1799)
    assert "at most 1,799 bytes" in error.value.wanted


def test_what_the_loader_would_decode_smaller_is_refused(listed):
    assert kept(*listed([noise(31, 40)])).pixels.shape == (1, 3, 40, 31)
    with pytest.raises(ConfigError, match="less than 32 pixels for recipe.image_size=8") as error:
        kept(*listed([noise(32, 40)]))
    assert "images of 32 pixels" in error.value.found


def test_the_room_of_a_device():
    assert 2**28 < room(CPU, 1) < 2**46
    assert room(CPU, 4) == room(CPU, 1) // 4
    with pytest.raises(ConfigError, match="a CPU or a CUDA device"):
        room(torch.device("mps"), 1)


def test_a_long_decoding_says_how_far_it_is(listed, monkeypatch, capsys):
    monkeypatch.setattr(resident, "_CHUNK", 2)
    monkeypatch.setattr(resident, "_PATIENCE", -1.0)
    kept(*listed([noise(4, 4)] * 3))
    assert capsys.readouterr().out == "decoded 2 of 3 images\ndecoded 3 of 3 images\n"
