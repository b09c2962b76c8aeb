"""Pools of class folders and tars."""

import io
import os
import pickle
import tarfile

import pytest
from PIL import Image

from lt_extrap.config.curate_source import FolderSource
from lt_extrap.curate.records import Candidate, Sought, Source
from lt_extrap.curate.sources import folders, tar
from lt_extrap.curate.sources.folders import Folders
from lt_extrap.data.decode import UnreadableImage
from lt_extrap.errors import DataError

FILES = {
    "n01440764/b.jpg": b"tench b",
    "n01440764/a/x.JPEG": b"tench a",
    "n01440764/a.jpg": b"tench",
    "n01440764/.hidden.jpg": b"",
    "n01440764/notes.txt": b"",
    "n02012849_crane/c.png": b"bird",
    "n03126707_crane/c.png": b"machine",
    "Sea-Lions/s.jpg": b"lions",
    "sea lions/s.jpg": b"other lions",
    "Café/c.jpg": b"coffee",
}
TENCH = Sought("n01440764", "tench", ("tench", "Tinca tinca"), wnid="n01440764")


def write(folder, files=FILES):
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def tar_of(file, files=FILES, prefix=""):
    with tarfile.open(file, "w") as archive:
        for path, content in files.items():
            member = tarfile.TarInfo(prefix + path)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file


def as_folders(folder):
    return write(folder / "pool")


def as_tars(folder):
    pool = folder / "pool"
    pool.mkdir()
    for name in {path.partition("/")[0] for path in FILES}:
        own = {path.partition("/")[2]: content for path, content in FILES.items() if path.startswith(f"{name}/")}
        tar_of(pool / f"{name}.tar", own, "./")
    return pool


def as_tar(folder):
    return tar_of(folder / "pool.tar")


def as_folder_in_tar(folder):
    return tar_of(folder / "pool.tar", {**FILES, "../out/x.jpg": b""}, "images/train/") / "images/train"


@pytest.fixture(params=[as_folders, as_tars, as_tar, as_folder_in_tar])
def pool(request, tmp_path):
    return request.param(tmp_path)


def test_a_pool_is_the_same_packed_or_not(pool):
    source = Folders(FolderSource(str(pool)))
    assert isinstance(source, Source)
    assert [*source.search(TENCH)] == [
        Candidate("n01440764/a.jpg", "tench"),
        Candidate("n01440764/a/x.JPEG", "tench"),
        Candidate("n01440764/b.jpg", "tench"),
    ]
    assert source.read("n01440764/a/x.JPEG") == b"tench a"
    assert [(found.key, found.name, found.wnid) for found in source.classes()] == [
        ("name:cafe", "Café", None),
        ("name:sea lions", "Sea-Lions", None),
        ("n01440764", "n01440764", "n01440764"),
        ("n02012849", "crane", "n02012849"),
        ("n03126707", "crane", "n03126707"),
    ]
    again = pickle.loads(pickle.dumps(source))
    assert again.read("Café/c.jpg") == b"coffee"
    for place in ("n01440764/none.jpg", "none/a.jpg", "n01440764", "", "/etc/passwd"):
        with pytest.raises(UnreadableImage) as error:
            source.read(place)
        assert error.value.path == place


@pytest.mark.parametrize(
    ("sought", "places"),
    [
        (Sought("n03126707", "crane", ("crane",), wnid="n03126707"), ["n03126707_crane/c.png"]),
        (Sought("n99999999", "crane", ("crane",), wnid="n99999999"), []),
        (Sought("name:crane", "crane", ("crane",)), ["n02012849_crane/c.png", "n03126707_crane/c.png"]),
        (Sought("name:x", "x", ("x", "SEA_LIONS")), ["Sea-Lions/s.jpg", "sea lions/s.jpg"]),
        (Sought("n77777777", "café", ("café",), wnid="n77777777"), ["Café/c.jpg"]),
        (Sought("name:..", "..", ("..", "", "../pool/n01440764", "n01440764/a")), []),
    ],
)
def test_a_class_is_found_by_id_and_then_by_name(pool, sought, places):
    source = Folders(FolderSource(str(pool)))
    assert [found.place for found in source.search(sought)] == places
    assert source.offers(sought) == bool(places)


def test_what_is_said_is_in_a_table_of_captions(tmp_path):
    pool = write(tmp_path / "pool")
    rows = "path,caption\nn01440764/a.jpg,a tench\n./n01440764/b.jpg,one\nn01440764/b.jpg,two\n"
    (pool / "captions.csv").write_text(rows)
    source = Folders(FolderSource(str(pool), "captions.csv"))
    assert [found.caption for found in source.search(TENCH)] == ["a tench", None, "one | two"]
    (pool / "captions.csv").write_text("file,caption\n")
    with pytest.raises(DataError, match="no path"):
        Folders(FolderSource(str(pool), "captions.csv"))


def test_nothing_outside_of_the_pool_is_read(tmp_path):
    pool, outside = write(tmp_path / "pool"), write(tmp_path / "outside", {"secret.jpg": b"secret"})
    (pool / "n01440764/link.jpg").symlink_to(outside / "secret.jpg")
    (pool / "n01440764/within.jpg").symlink_to(pool / "Café/c.jpg")
    (pool / "n01440764/folder").symlink_to(outside)
    (pool / "n00000001").symlink_to(outside)
    os.mkfifo(pool / "n01440764/pipe.jpg")
    source = Folders(FolderSource(str(pool)))
    assert "n00000001" not in {found.key for found in source.classes()}
    found = {candidate.place for candidate in source.search(TENCH)}
    assert not any("secret" in place for place in found)
    assert source.read("n01440764/within.jpg") == b"coffee"
    for name, reason in (
        ("link.jpg", "outside"),
        ("../../outside/secret.jpg", "outside"),
        ("folder/secret.jpg", "outside"),
        ("pipe.jpg", "not a file"),
        ("nul\0.jpg", "null"),
        ("x" * 5000 + ".jpg", "too long"),
    ):
        with pytest.raises(UnreadableImage, match=reason):
            source.read(f"n01440764/{name}")


def test_a_tar_is_read_once(tmp_path, monkeypatch):
    file = as_tar(tmp_path)
    Folders(FolderSource(str(file)))
    folders._tar.cache_clear()
    monkeypatch.setattr(tar, "_indexed", None)
    assert Folders(FolderSource(str(file))).read("n01440764/b.jpg") == b"tench b"
    monkeypatch.undo()
    folders._tar.cache_clear()
    tar_of(file, {"n01440764/b.jpg": b"another"})
    os.utime(file, ns=(1, 1))
    assert Folders(FolderSource(str(file))).read("n01440764/b.jpg") == b"another"


def test_links_in_a_tar_are_left_out_and_the_later_of_two_files_counts(tmp_path):
    file = tmp_path / "pool.tar"
    with tarfile.open(file, "w") as archive:
        for name, content, kind in (
            ("a/x.jpg", b"first", tarfile.REGTYPE),
            ("a/link.jpg", b"", tarfile.SYMTYPE),
            ("/a/whole.jpg", b"", tarfile.REGTYPE),
            ("a/x.jpg", b"later", tarfile.REGTYPE),
        ):
            member = tarfile.TarInfo(name)
            member.size, member.type, member.linkname = len(content), kind, "/etc/passwd"
            archive.addfile(member, io.BytesIO(content))
    source = Folders(FolderSource(str(file)))
    assert [found.place for found in source.search(Sought("name:a", "a", ("a",)))] == ["a/x.jpg"]
    assert source.read("a/x.jpg") == b"later"


def test_a_file_of_a_tar_has_the_limit_of_any_file(tmp_path, monkeypatch):
    file = tar_of(tmp_path / "pool.tar", {"a/x.jpg": b"x" * 100})
    monkeypatch.setattr(tar, "MOST_BYTES", 99, raising=False)
    with pytest.raises(UnreadableImage, match="100 bytes, limit 99"):
        Folders(FolderSource(str(file))).read("a/x.jpg")


def test_a_tar_that_is_cut_ends_at_the_cut(tmp_path):
    file = tar_of(tmp_path / "pool.tar", {"a/x.jpg": b"x" * 600, "a/y.jpg": b"y" * 6000})
    content = file.read_bytes()
    file.write_bytes(content[: 512 + 1024 + 512 + 100])
    source = Folders(FolderSource(str(file)))
    assert source.read("a/x.jpg") == b"x" * 600
    with pytest.raises(UnreadableImage, match="ends within it"):
        source.read("a/y.jpg")


@pytest.mark.parametrize("kind", ["nothing", "empty", "compressed", "no tar", "twice"])
def test_what_is_no_pool_is_refused(tmp_path, kind):
    root = tmp_path / "pool"
    if kind == "empty":
        write(root, {"x.jpg": b""})
    elif kind == "compressed":
        with tarfile.open(root, "w:gz") as archive:
            archive.add(__file__)
    elif kind == "no tar":
        root.write_bytes(b"no tar" * 1000)
    elif kind == "twice":
        write(root, {"a/x.jpg": b"", "a.tar": b""})
    with pytest.raises(DataError):
        Folders(FolderSource(str(root)))


def test_file_names_that_are_not_utf_8_are_left_out(tmp_path):
    pool = write(tmp_path / "pool", {"a/x.jpg": b"x"})
    try:
        (pool / os.fsdecode(b"a/\xff.jpg")).touch()
    except OSError:
        pytest.skip("this file system takes no such name")
    found = Folders(FolderSource(str(pool))).search(Sought("name:a", "a", ("a",)))
    assert [candidate.place for candidate in found] == ["a/x.jpg"]


@pytest.mark.slow
def test_a_class_of_tiny_imagenet_is_read_from_its_tar(real_data):
    source = Folders(FolderSource(str(real_data / "tiny_imagenet/images.tar/train")))
    found = [*source.search(Sought("n01443537", "goldfish", ("goldfish",), wnid="n01443537"))]
    assert len(found) > 100
    assert Image.open(io.BytesIO(source.read(found[0].place))).size == (64, 64)
