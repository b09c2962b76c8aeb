"""Stores of images: packed, remote and both give the bytes of the folder."""

import dataclasses
import functools
import http.server
import io
import json
import os
import pickle
import re
import subprocess
import tarfile
import threading
from pathlib import Path

import fsspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader

from lt_extrap.data.decode import UnreadableImage
from lt_extrap.data.lists import SampleIndex
from lt_extrap.data.shrink import shrunk
from lt_extrap.data.store import Beside, Folder, Packed, RemoteFolder, is_url, open_store, remote, writer
from lt_extrap.data.store import index as index_module
from lt_extrap.data.store.index import INDEX, PackIndex
from lt_extrap.data.store.packed import shard_name
from lt_extrap.data.store.writer import faults, write_pack
from lt_extrap.errors import ConfigError, DataError, RunError

PATHS = [
    "a/x.jpg",
    "b/x.jpg",  # equal basenames
    "b/with space  and two.jpg",
    "grün/日本語.png",
    "a/" + "d" * 120 + "/" + "e" * 200 + ".jpg",  # longer than a plain header of a tar
    "x",
    "b/%20#?.jpg",
]


def content_of(path: str) -> bytes:
    return (path * 1 + "\0").encode("utf-8", "surrogateescape") * (1 + len(path) % 7 * 100)


def filled(folder: Path, paths=PATHS) -> Path:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content_of(path))
    return folder


def packed(folder: Path, source: Path, paths=PATHS, **options) -> Packed:
    write_pack(folder, paths, Folder(source), **{"shard_bytes": 2000, **options})
    return open_store(folder)


def index_of(*paths: str) -> SampleIndex:
    return SampleIndex.of(paths, [0] * len(paths))


part = st.text(st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1, max_size=60).filter(
    lambda name: name not in (".", "..") and len(name.encode()) < 200
)


class InMemory(Folder):
    """A folder that no disk limits: any names go together."""

    def read(self, path):
        return content_of(path)


@settings(deadline=None, max_examples=12)
@given(
    paths=st.sets(st.lists(part, min_size=1, max_size=4).map("/".join), min_size=1, max_size=8),
    shard_bytes=st.sampled_from([1, 5_000, 10**6]),
)
def test_any_paths_come_back_with_their_bytes(tmp_path_factory, paths, shard_bytes):
    folder = tmp_path_factory.mktemp("packed")
    write_pack(folder, paths, InMemory(Path("/nowhere")), shard_bytes=shard_bytes)
    store = open_store(folder)
    for path in paths:
        assert store.read(path) == store.read(store.where(path)) == content_of(path)
    assert store.index.paths() == sorted(path.encode() for path in paths)
    assert store.read("not there") if "not there" in paths else store.stamp("not there") is None
    for shard in range(len(store.index.header.shards)):
        assert list(faults(folder, store.index, shard)) == []


def test_a_path_that_is_no_utf8_comes_back(tmp_path):
    path = os.fsdecode(b"caf\xe9.jpg")
    store = packed(tmp_path / "packed", filled(tmp_path / "source", [path]), [path])
    assert store.read(path) == content_of(path)
    assert store.index.paths() == [b"caf\xe9.jpg"]


def test_shards_are_plain_tars(tmp_path):
    store = packed(tmp_path / "packed", filled(tmp_path / "source"))
    assert len(store.index.header.shards) > 1
    found = {}
    (tmp_path / "unpacked").mkdir()
    for shard in sorted((tmp_path / "packed").glob("*.tar")):
        with tarfile.open(shard) as tar:
            found |= {member.name: tar.extractfile(member).read() for member in tar}
        subprocess.run(["tar", "xf", shard, "-C", tmp_path / "unpacked"], check=True)
    assert found == {path: content_of(path) for path in PATHS}
    assert Folder(tmp_path / "unpacked").read(PATHS[3]) == content_of(PATHS[3])


def test_paths_of_one_key_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(index_module, "key_of", lambda path: len(path) % 2)
    store = packed(tmp_path / "packed", filled(tmp_path / "source"))
    assert [store.read(path) for path in PATHS] == [content_of(path) for path in PATHS]
    assert store.stamp("y") is None


def test_a_million_and_a_half_images_take_little_room(tmp_path):
    """By the bytes of 1,000: paths of 54 letters, as crawled images and those of iNaturalist have."""
    paths = [f"train/n{i:08d}/{i * 7919:032x}.jpg" for i in range(1000)]
    write_pack(tmp_path / "packed", paths, InMemory(Path("/nowhere")), shard_bytes=10**9)
    store = open_store(tmp_path / "packed")
    assert len(paths[0]) == 52
    assert (tmp_path / "packed" / INDEX).stat().st_size * 1500 <= 126e6
    assert store.index.keys.flags.owndata is False  # mapped


def test_absolute_paths_are_files_and_a_store_knows_its_own(tmp_path):
    source = filled(tmp_path / "source")
    store = packed(tmp_path / "packed", source)
    assert store.read(str(source / "x")) == content_of("x")
    assert store.stamp(str(source / "x")) == Folder(source).stamp("x")
    assert store.where("x") == f"{tmp_path}/packed/x"
    assert store.where(str(source / "x")) == str(source / "x")
    rows = ["x", f"{tmp_path}/packed/x", f"{tmp_path}/packed/y", "y", str(source / "x"), "/nowhere/x", "a/x.jpg"]
    assert store.missing(index_of(*rows)).tolist() == [2, 3, 5]


def test_two_stores_side_by_side(tmp_path):
    first = packed(tmp_path / "one", filled(tmp_path / "source"))
    second = packed(tmp_path / "two", filled(tmp_path / "other", ["x", "z"]), ["x", "z"])
    both = Beside.of(first, second)
    assert both.read("a/x.jpg") == content_of("a/x.jpg")
    assert both.read(f"{tmp_path}/two/z") == content_of("z")
    assert both.missing(index_of("z", f"{tmp_path}/two/z", f"{tmp_path}/two/a/x.jpg", "x")).tolist() == [0, 2]
    assert Beside.of(first, open_store(tmp_path / "one")) is first


def test_what_is_not_packed_is_said(tmp_path):
    store = packed(tmp_path / "packed", filled(tmp_path / "source"), [*PATHS, "gone.jpg"], skip=True)
    with pytest.raises(UnreadableImage, match=r"packed/gone\.jpg: not packed: No such file"):
        store.read("gone.jpg")
    with pytest.raises(UnreadableImage, match=r"packed/c/x\.jpg: not packed$"):
        store.read("c/x.jpg")
    assert store.instead("gone.jpg").endswith("was packed: No such file or directory")
    assert store.instead("c/x.jpg").endswith("has 7 images, such as a/x.jpg")
    assert store.index.header.done == 8


def test_a_folder_that_is_not_whole_is_refused(tmp_path):
    store = packed(tmp_path / "packed", filled(tmp_path / "source"))
    shard = tmp_path / "packed" / shard_name(1)
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-512])
    with pytest.raises(DataError, match=r"shard-000001\.tar: [\d,]+ bytes of [\d,]+"):
        open_store(tmp_path / "packed")
    first = store.index.path(int(store.index.rows_of(1)[0]))
    shard.write_bytes(whole[:513])
    with pytest.raises(UnreadableImage, match=r"shard-000001\.tar: \d+ bytes where"):
        store.read(first)
    shard.unlink()
    with pytest.raises(DataError, match=r"shard-000001\.tar: not there"):
        open_store(tmp_path / "packed")
    for wrong in (b"", (tmp_path / "packed" / INDEX).read_bytes()[:-3], b"no index" * 1000):
        (tmp_path / "packed" / INDEX).write_bytes(wrong)
        with pytest.raises(DataError, match="a whole index of a packed folder"):
            open_store(tmp_path / "packed")


def test_an_index_of_a_stranger_is_refused_in_our_words(tmp_path):
    """Whatever it says: no traceback, and no buffer of the size that it asks for."""
    mapped = packed(tmp_path / "packed", filled(tmp_path / "source")).index
    # Copied: the file under a map that is cut takes the process with it.
    arrays = {key: value.copy() for key, value in vars(mapped).items() if isinstance(value, np.ndarray)}
    index = dataclasses.replace(mapped, **arrays)
    header = vars(index.header)
    text = json.dumps(header)
    for hostile in (
        {"header": json.dumps(header | {"format": 1})},
        {"header": json.dumps(header | {"longest_edge": 0})},
        {"header": json.dumps(header | {"longest_edge": "512"})},
        {"header": text.replace('"images"', '"image"')},
        {"header": text.replace('"images": 7', '"images": 7.0')},
        {"header": json.dumps(header | {"shards": [str(size) for size in header["shards"]]})},
        {"header": "[" * 100_000},
        {"header": "3"},
        {"keys": arrays["keys"].astype(">u8")},
        {"blocks": arrays["blocks"][:3]},
        {"blocks": arrays["blocks"].astype(float)},
        {"blocks": arrays["blocks"] + np.uint32(2**30)},
        {"lengths": arrays["lengths"] + np.uint32(2**31)},
        {"shards": arrays["shards"] + np.uint16(60_000)},
        {"offsets": arrays["offsets"][:-1]},
        {"offsets": arrays["offsets"] - (np.arange(8) == 0)},
        {"offsets": arrays["offsets"] * 2},
        {"offsets": arrays["offsets"][[0, 2, 1, *range(3, 8)]]},
        {"left_out": np.frombuffer(b"[]", np.uint8)},
        {"left_out": np.frombuffer(b"[" * 100_000, np.uint8)},
        {"left_out": np.frombuffer(b'{"x": 1}', np.uint8)},
    ):
        words = np.frombuffer(hostile.pop("header", text).encode(), np.uint8)
        with (tmp_path / "packed" / INDEX).open("wb") as file:
            for array in (words, *(arrays | hostile).values()):
                np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
                file.write(array.tobytes())
        with pytest.raises(DataError, match="a whole index of a packed folder") as error:
            open_store(tmp_path / "packed")
        assert "TypeCheckError" not in error.value.found  # which comes in tests alone
    index.write(tmp_path / "packed" / INDEX)
    content = (tmp_path / "packed" / INDEX).read_bytes()
    (tmp_path / "packed" / INDEX).write_bytes(content.replace(b"{'descr'", b"({'descr", 1))
    with pytest.raises(DataError, match="a whole index of a packed folder"):
        open_store(tmp_path / "packed")


def test_faults_of_shards_are_found(tmp_path):
    store = packed(tmp_path / "packed", filled(tmp_path / "source"))
    shard = tmp_path / "packed" / shard_name(0)
    whole = shard.read_bytes()
    extent = store.index.find(store.index.path(int(store.index.rows_of(0)[0])))
    for place, fault in ((extent.start, "another checksum"), (extent.start - 512, "which is not what|bad checksum")):
        shard.write_bytes(whole[:place] + b"!" + whole[place + 1 :])
        found = list(faults(tmp_path / "packed", store.index, 0))
        assert len(found) == 1
        assert re.search(fault, found[0]), found
    shard.write_bytes(b"\0" * 1024)
    assert "is not there" in next(faults(tmp_path / "packed", store.index, 0))


def test_shards_open_are_few(tmp_path, monkeypatch):
    monkeypatch.setattr("lt_extrap.data.store.packed._MOST_OPEN", 2)
    descriptors = Path("/proc/self/fd")
    if not descriptors.is_dir():
        pytest.skip("no /proc")
    before = len([*descriptors.iterdir()])
    store = packed(tmp_path / "packed", filled(tmp_path / "source"), shard_bytes=1)
    assert len(store.index.header.shards) == len(PATHS)
    for _ in range(2):
        assert [store.read(path) for path in PATHS] == [content_of(path) for path in PATHS]
    assert len([*descriptors.iterdir()]) - before == 3  # and the index
    del store
    assert len([*descriptors.iterdir()]) == before


class Killed(BaseException):
    pass


@pytest.mark.parametrize("images", range(8))
def test_a_kill_at_any_image_changes_nothing(tmp_path, images):
    source = filled(tmp_path / "source")
    packed(tmp_path / "straight", source)

    def killed(prepared, done, total):
        for number, item in enumerate(prepared):
            if number == images:
                raise Killed
            yield item

    kills = 0
    while kills < 20:
        try:
            write_pack(tmp_path / "packed", PATHS, Folder(source), shard_bytes=2000, watch=killed)
            break
        except Killed:
            kills += 1
            if images < 2:
                break  # no shard would ever end
    write_pack(tmp_path / "packed", PATHS, Folder(source), shard_bytes=2000)
    assert kills > 0 or images == 7
    assert _files(tmp_path / "packed") == _files(tmp_path / "straight")


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_shards_behind_one_that_is_written_again_count_only_where_they_go_on(tmp_path):
    """The images have grown in between, so that the new first shard ends before the old one."""
    paths = [f"{i:02d}" for i in range(40)]

    class Noted(InMemory):
        length = 500

        def read(self, path):
            return path.encode() * self.length

    def write(images=99):
        def killed(prepared, done, total):
            for number, item in enumerate(prepared):
                if number == images:
                    raise Killed
                yield item

        write_pack(tmp_path / "packed", paths, source, shard_bytes=10_000, watch=killed)

    source = Noted(Path("/nowhere"))
    with pytest.raises(Killed):
        write(images=25)
    (tmp_path / "packed" / shard_name(0)).unlink()
    source.length = 2000
    with pytest.raises(Killed):
        write(images=4)
    write()
    assert open_store(tmp_path / "packed").missing(index_of(*paths)).tolist() == []


def test_what_was_packed_is_not_packed_again(tmp_path):
    source = filled(tmp_path / "source")
    packed(tmp_path / "packed", source)
    before = _files(tmp_path / "packed")
    assert before.keys() == {INDEX, *(shard_name(shard) for shard in range(len(before) - 1))}
    (tmp_path / "packed" / (shard_name(0) + ".index")).touch()  # a kill came before it was removed
    write_pack(tmp_path / "packed", PATHS, InMemory(Path("/nowhere")), shard_bytes=2000)
    assert _files(tmp_path / "packed") == before
    for others in ({"paths": PATHS[1:]}, {"shard_bytes": 3000}, {"longest_edge": 9}):
        with pytest.raises(RunError, match="other options"):
            packed(tmp_path / "packed", source, **others)
    (tmp_path / "packed" / shard_name(1)).unlink()
    with pytest.raises(DataError, match="not there"):
        packed(tmp_path / "packed", source)


def test_shards_that_no_index_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "MOST_SHARDS", len(PATHS) - 1)
    with pytest.raises(DataError, match="1 of 7 left") as error:
        packed(tmp_path / "packed", filled(tmp_path / "source"), shard_bytes=1)
    assert "shard_megabytes" in error.value.remedy


def test_an_image_that_is_not_there_is_refused_or_left_out(tmp_path):
    source = filled(tmp_path / "source")
    with pytest.raises(DataError, match=r"source/z\.jpg: No such file") as error:
        packed(tmp_path / "packed", source, [*PATHS, "z.jpg"])
    assert "the shards that are whole stay" in error.value.remedy
    assert packed(tmp_path / "packed", source, [*PATHS, "z.jpg"], skip=True).index.reasons.keys() == {"z.jpg"}
    with pytest.raises(RunError, match=r"1 left out: z\.jpg"):
        packed(tmp_path / "packed", source, [*PATHS, "z.jpg"])


@pytest.mark.parametrize("path", ["/abs/x.jpg", "../x.jpg", "a/../x.jpg", "a/", "a\0b"])
def test_paths_that_no_archive_should_hold(tmp_path, path):
    with pytest.raises(DataError):
        write_pack(tmp_path / "packed", [path], Folder(tmp_path), shard_bytes=10)
    assert not (tmp_path / "packed").exists()


def noise(width, height, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(256, size=(height, width, 3), dtype=np.uint8))


def jpeg(image, **options):
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


def test_only_larger_images_are_encoded_again():
    small = jpeg(noise(40, 30))
    assert shrunk("a", small, 40) is small
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    turned = Image.open(io.BytesIO(shrunk("a", jpeg(noise(400, 100), exif=exif), 50)))
    assert (turned.size, turned.format, turned.getexif().get(0x0112)) == ((12, 50), "JPEG", None)
    gradient = Image.fromarray(np.tile(np.linspace(0, 255, 600).astype(np.uint8), (300, 1))).convert("RGB")
    pixels = np.asarray(Image.open(io.BytesIO(shrunk("a", jpeg(gradient, quality=95), 60)))).astype(int)
    assert np.abs(pixels - np.linspace(2, 253, 60)[None, :, None]).mean() < 1.5
    with pytest.raises(UnreadableImage, match="a.jpg"):
        shrunk("a.jpg", b"no image", 50)


def test_workers_pack_the_same(tmp_path):
    for i in range(40):
        (tmp_path / "source").mkdir(exist_ok=True)
        noise(20 + 3 * i, 30, i).save(tmp_path / "source" / f"{i}.jpg")
    paths = [f"{i}.jpg" for i in range(40)]
    options = {"shard_bytes": 9000, "longest_edge": 64}
    one = packed(tmp_path / "one", tmp_path / "source", paths, **options)
    packed(tmp_path / "two", tmp_path / "source", paths, workers=2, **options)
    assert _files(tmp_path / "one") == _files(tmp_path / "two")
    assert max(Image.open(io.BytesIO(one.read(path))).width for path in paths) == 64


@pytest.fixture
def memory():
    """A file system of fsspec in this process; forked ones have a copy."""
    yield fsspec.filesystem("memory")
    fsspec.filesystem("memory").store.clear()
    fsspec.filesystem("memory").pseudo_dirs[:] = [""]


@pytest.fixture(params=["memory", "file"])
def upload(request, tmp_path):
    """Put a folder behind a URL."""

    def put(folder: Path) -> str:
        if request.param == "file":
            return f"file://{folder}"
        request.getfixturevalue("memory").put(str(folder), f"/bucket/{folder.name}", recursive=True)
        return f"memory://bucket/{folder.name}"

    return put


def read_all(store, paths=PATHS, workers=0):
    return list(DataLoader(paths, batch_size=None, collate_fn=store.read, num_workers=workers))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("pack", [False, True])
def test_remote_stores_give_the_bytes_of_the_folder(tmp_path, upload, pack, workers):
    source = filled(tmp_path / "source")
    if pack:
        packed(tmp_path / "packed", source)
    store = open_store(upload(tmp_path / "packed" if pack else source))
    assert isinstance(store, Packed if pack else RemoteFolder)
    assert read_all(store, workers=workers) == [content_of(path) for path in PATHS]
    assert store.read(store.where("x")) == content_of("x")
    rows = ["x", "y", "b/x.jpg", "c/x.jpg", str(source / "x"), "/nowhere/x"]
    assert store.missing(index_of(*rows)).tolist() == [1, 3, 5]
    with pytest.raises(UnreadableImage, match="packed/y: not packed" if pack else "source/y: not there"):
        store.read("y")


def test_a_remote_index_is_fetched_once_and_again_when_it_changes(tmp_path, memory, monkeypatch):
    monkeypatch.setenv("LT_EXTRAP_CACHE", str(tmp_path / "cache"))
    reads = []
    read = remote.RemoteFiles.read
    monkeypatch.setattr(remote.RemoteFiles, "read", lambda self, *range: reads.append(range) or read(self, *range))
    source = filled(tmp_path / "source")
    packed(tmp_path / "packed", source)
    memory.put(f"{tmp_path}/packed", "/bucket/packed", recursive=True)
    for _ in range(2):
        assert open_store("memory://bucket/packed").read("x") == content_of("x")
    assert [name for name, *range in reads if not range] == [INDEX]
    memory.rm("/bucket/packed", recursive=True)
    packed(tmp_path / "another" / "packed", source, PATHS[:2])
    memory.put(f"{tmp_path}/another/packed", "/bucket/packed", recursive=True)
    assert len(open_store("memory://bucket/packed").index) == 2


def test_processes_fetch_a_remote_index_at_once(tmp_path, memory, monkeypatch):
    """As those of several devices do: each opens the store while the first has not ended."""
    monkeypatch.setenv("LT_EXTRAP_CACHE", str(tmp_path / "cache"))
    packed(tmp_path / "packed", filled(tmp_path / "source"))
    memory.put(f"{tmp_path}/packed", "/bucket/packed", recursive=True)
    read, opened = PackIndex.digest, []

    def meanwhile(index):
        if not opened:
            opened.append(None)
            opened.append(open_store("memory://bucket/packed"))
        return read(index)

    monkeypatch.setattr(PackIndex, "digest", meanwhile)
    opened.append(open_store("memory://bucket/packed"))
    assert [store.read("x") for store in opened[1:]] == [content_of("x")] * 2
    assert len([*(tmp_path / "cache" / "packed").iterdir()]) == 1


def test_a_remote_index_that_did_not_come_whole_is_not_kept(tmp_path, memory, monkeypatch):
    monkeypatch.setenv("LT_EXTRAP_CACHE", str(tmp_path / "cache"))
    packed(tmp_path / "packed", filled(tmp_path / "source"))
    memory.put(f"{tmp_path}/packed", "/bucket/packed", recursive=True)
    content = (tmp_path / "packed" / INDEX).read_bytes()
    for wrong in (content[:-3], content.replace(b"b/x.jpg", b"b/y.jpg")):
        memory.pipe(f"/bucket/packed/{INDEX}", wrong)
        with pytest.raises(DataError):
            open_store("memory://bucket/packed")
    memory.pipe(f"/bucket/packed/{INDEX}", content)
    assert open_store("memory://bucket/packed").read("x") == content_of("x")


def test_a_packed_store_goes_to_another_process_by_its_place(tmp_path):
    store = packed(tmp_path / "packed", filled(tmp_path / "source"))
    sent = pickle.dumps(store)
    assert len(sent) < 300
    assert pickle.loads(sent).read("x") == content_of("x")
    assert pickle.loads(sent) is pickle.loads(sent)  # opened once there


@pytest.mark.parametrize(("url", "found"), [("nothing://bucket/x", "Protocol not known"), ("dropbox://x/y", "dropbox")])
def test_a_protocol_that_is_not_there(url, found):
    with pytest.raises(ConfigError, match=found) as error:
        open_store(url)
    assert "install the package" in error.value.remedy


def test_what_a_url_is():
    assert all(map(is_url, ("s3://a/b", "memory://x", "simplecache::s3://a", "http://127.0.0.1:1/x")))
    assert not any(map(is_url, ("/a/b", "a/b", "c:/x", "a:b", "~/x")))


class Handler(http.server.SimpleHTTPRequestHandler):
    """A web server that knows ranges of bytes, which Python's own does not."""

    ranges = True
    fails = 0

    def do_GET(self):
        if type(self).fails:
            type(self).fails -= 1
            self.send_error(503)
            return
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        file = Path(self.translate_path(self.path))
        if not (self.ranges and wanted and file.is_file()):
            super().do_GET()
            return
        start, end = map(int, wanted.groups())
        content = file.read_bytes()[start : end + 1]
        self.send_response(206)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def web(tmp_path, monkeypatch):
    """The address of a web server of the test's folder."""
    monkeypatch.setattr(remote, "_WAITS", (0.0, 0.0))
    monkeypatch.setattr(Handler, "fails", 0)
    handler = functools.partial(Handler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_web_server(tmp_path, web):
    packed(tmp_path / "packed", filled(tmp_path / "source"))
    store = open_store(f"{web}/packed")
    assert isinstance(store, Packed)
    assert read_all(store) == [content_of(path) for path in PATHS]  # here first, so that a thread is there to lose
    assert read_all(store, workers=2) == [content_of(path) for path in PATHS]
    files = open_store(f"{web}/source")
    assert isinstance(files, RemoteFolder)
    assert read_all(files) == [content_of(path) for path in PATHS]
    assert files.missing(index_of(*PATHS, "y", "b/y", "c/y")).tolist() == [7, 8, 9]
    Handler.fails = 2
    assert store.read("x") == content_of("x")
    Handler.fails = 3
    with pytest.raises(UnreadableImage, match=r"packed/x: shard-\d+\.tar: no answer in 3 tries: .*503"):
        store.read("x")


def test_a_web_server_without_ranges_is_refused(tmp_path, web, monkeypatch):
    packed(tmp_path / "packed", filled(tmp_path / "source"))
    store = open_store(f"{web}/packed")
    monkeypatch.setattr(Handler, "ranges", False)
    with pytest.raises(UnreadableImage, match="bytes where"):
        store.read("x")
    with pytest.raises(DataError, match="sends ranges of bytes") as error:
        open_store(f"{web}/packed")
    assert "Range requests" in error.value.remedy


def test_an_index_merges_its_parts():
    parts = [
        PackIndex.of(
            [path], [index_module.Extent(n, 512, n, n)], {}, identity="i", shards=[n], done=n + 1, longest_edge=None
        )
        for n, path in enumerate("abc")
    ]
    index = PackIndex.merge(parts)
    assert [index.find(path) for path in "abcd"] == [(0, 512, 0, 0), (1, 512, 1, 1), (2, 512, 2, 2), None]
    assert (index.header.shards, index.header.done, index.header.images) == ([0, 1, 2], 3, 3)
