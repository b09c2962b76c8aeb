import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lt_extrap.data.images import ImageFiles, collate_images, find_images
from lt_extrap.data.transforms import EvalTransform
from lt_extrap.errors import ConfigError, DataError


def put(path, value=128):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((9, 12, 3), value, np.uint8)).save(path, "PNG")


def names(*arguments):
    paths = find_images(*arguments)
    return [paths[i] for i in range(len(paths))]


def test_a_folder_is_searched_with_all_below_it_and_sorted(tmp_path):
    for name in ("b.png", "a/z.JPG", "a-b.WebP", "a/b/c.tiff", "B.jpeg", ".hidden.png", ".git/x.png", "a/._m.png"):
        put(tmp_path / name)
    for name in ("notes.txt", "a/list.csv", "png", "x.png.bak"):
        (tmp_path / name).write_text("no image")
    assert names(tmp_path) == ["B.jpeg", "a-b.WebP", "a/b/c.tiff", "a/z.JPG", "b.png"]
    assert find_images(tmp_path).images.where("a/b/c.tiff") == str(tmp_path / "a/b/c.tiff")


def test_a_folder_in_the_path_may_be_hidden_or_look_like_an_image(tmp_path):
    put(tmp_path / ".cache" / "photos.png" / "x.png")
    assert names(tmp_path / ".cache") == ["photos.png/x.png"]


def test_links_are_followed_and_never_in_a_circle(tmp_path):
    put(tmp_path / "elsewhere" / "x.png")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "photos" / "again").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "circle").symlink_to(tmp_path / "elsewhere")
    assert names(tmp_path / "photos") == ["again/x.png", "link/x.png"]


def test_names_that_are_not_utf8_survive(tmp_path):
    put(tmp_path / os.fsdecode(b"caf\xe9.png"))
    paths = find_images(tmp_path)
    assert os.fsencode(paths[0]) == b"caf\xe9.png"
    assert Path(paths.images.where(paths[0])).is_file()


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("b.png\na b/c 1.png\nb.png\n", ["b.png", "a b/c 1.png", "b.png"]),
        ("\ufeffb.png\r\n\r\n  a.png\t\r\n", ["b.png", "a.png"]),
        ("b.png 3\na b.png\t10\n", ["b.png", "a b.png"]),
        ("image 3\nimage.png\n", ["image 3", "image.png"]),  # labels are on every line, or there are none
        ("12\n", ["12"]),
        ("/abs/x.png\n", ["/abs/x.png"]),
    ],
)
def test_a_list_in_its_order_with_or_without_labels(tmp_path, text, paths):
    (tmp_path / "list.txt").write_bytes(text.encode())
    assert names(tmp_path / "list.txt") == paths


def test_a_list_starts_at_its_folder_or_at_a_root(tmp_path):
    (tmp_path / "list.txt").write_text("x.png\n/abs/y.png\n")
    paths = find_images(tmp_path / "list.txt")
    assert [paths.images.where(paths[i]) for i in range(2)] == [str(tmp_path / "x.png"), "/abs/y.png"]
    assert find_images(tmp_path / "list.txt", Path("/data")).images.where("x.png") == "/data/x.png"


def test_one_image_stands_for_itself(tmp_path):
    put(tmp_path / "x.PNG")
    assert names(tmp_path / "x.PNG") == ["x.PNG"]
    assert find_images(tmp_path / "x.PNG").images.root == str(tmp_path)


def test_what_is_not_there_or_empty_is_said(tmp_path):
    with pytest.raises(DataError, match="nope"):
        find_images(tmp_path / "nope")
    with pytest.raises(DataError, match=r"no file that ends in .*\.jpg"):
        find_images(tmp_path)
    (tmp_path / "list.txt").write_text("\n \n")
    with pytest.raises(DataError, match="no line"):
        find_images(tmp_path / "list.txt")
    with pytest.raises(ConfigError, match="root to be null"):
        find_images(tmp_path, Path("/data"))


def test_an_unreadable_image_keeps_its_place(tmp_path):
    put(tmp_path / "a.png", 10)
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:40])
    put(tmp_path / "c.png", 30)
    files = ImageFiles(find_images(tmp_path), EvalTransform(size=4))
    batch = collate_images([files[i] for i in range(len(files))])
    assert [error is None for error in batch.errors] == [True, False, True]
    assert torch.equal(batch.images, torch.tensor([10, 30], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 4, 4))
    assert collate_images([files[1]]).images.shape[0] == 0
