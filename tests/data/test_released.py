"""The relation released with the paper is read and nothing in it is run."""

import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from lt_extrap.data import released
from lt_extrap.data.released import match, read_relation
from lt_extrap.data.target import ClassTable
from lt_extrap.errors import DataError

TABLE = ClassTable(("n01440764", "n01443537", "n02012849"), ("tench", "goldfish", "crane"), np.array([200, 50, 5]))
DACE, MINNOW, DRESS = "n01441117", "n01442972", "n03236735"
RELATION = {"0": [DACE, MINNOW], "1": [DACE], "2": []}


def saved(path: Path, content, protocol: int = 4) -> Path:
    """What numpy.save writes: its header, and the pickle of an array of one object."""
    array = np.empty((), object)
    array[()] = content
    return raw(path, pickle.dumps(array, protocol))


def raw(path: Path, pickled: bytes) -> Path:
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"shape": (), "fortran_order": False, "descr": "|O"})
        file.write(pickled)
    return path


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_every_form_of_the_file(tmp_path, protocol):
    assert read_relation(saved(tmp_path / "a.npy", RELATION, protocol)) == RELATION
    mixed = {0: (DACE, np.str_(MINNOW)), np.str_("1"): np.array([DACE], object), np.int64(2): []}
    assert read_relation(saved(tmp_path / "b.npy", mixed, protocol)) == RELATION
    np.save(tmp_path / "c.npy", RELATION, allow_pickle=True)
    assert read_relation(tmp_path / "c.npy") == RELATION


def test_the_names_that_older_versions_of_numpy_wrote(tmp_path):
    array = np.empty((), object)
    array[()] = RELATION
    older = pickle.dumps(array, 3).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert b"numpy.core.multiarray" in older
    assert read_relation(raw(tmp_path / "a.npy", older)) == RELATION


class Hostile:
    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("place", ["alone", "value", "key", "item"])
@pytest.mark.parametrize("call", ["system", "exec", "touch", "load"])
def test_nothing_is_run(tmp_path, call, place, protocol):
    marker = tmp_path / "marker"
    hostile = {
        "system": Hostile(os.system, f"touch {marker}"),
        "exec": Hostile(exec, f"open({str(marker)!r}, 'w').close()"),
        "touch": Hostile(Path.touch, marker),
        "load": Hostile(pickle.loads, pickle.dumps(Hostile(os.system, f"touch {marker}"))),
    }[call]
    contents = {"value": {"0": hostile}, "key": {hostile: [DACE]}, "item": {"0": [DACE, hostile]}}
    file = tmp_path / "a.npy"
    if place == "alone":
        raw(file, pickle.dumps(hostile, protocol))
    else:
        saved(file, contents[place], protocol)
    with pytest.raises(DataError, match="it asks for .*nothing was run"):
        read_relation(file)
    assert not marker.exists()
    with file.open("rb") as content:  # the file is what it is meant to be: numpy would run it
        np.lib.format.read_magic(content)
        np.lib.format.read_array_header_1_0(content)
        pickle.load(content)
    assert marker.exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([1], "'list' object has no attribute 'items'"),
        ({1.5: [DACE]}, "a key of type float"),
        ({"0": DACE}, "str where a list"),
        ({"0": ["../../etc"]}, r"'../../etc' where a WordNet id"),
        ({"0": [7]}, "int where a WordNet id"),
        ({"0": np.array([DACE])}, "_Array where a list"),
        ({"0": [DACE], 0: [DACE]}, "a target twice"),
    ],
)
def test_what_is_no_relation(tmp_path, content, said):
    with pytest.raises(DataError, match=said):
        read_relation(saved(tmp_path / "a.npy", content))


def pickled(inner: bytes) -> bytes:
    """The pickle of an array of one object, which is made by some opcodes."""
    return b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n)R(K\x01)NN]" + inner + b"atb."


SHARED = b"".join(b"]q%c(h%ch%ce0" % (i, i - 1, i - 1) for i in range(1, 60))  # a list of a list twice, and so on
HASHED = b"".join(b"\x85%sq%ch%c\x86" % (b"N0" * (i % 2), i, i) for i in range(60))  # the same with tuples
MANY = b"]q\x01(" + b"U\tn01441117q\x02" + b"h\x02" * 200 + b"e"


@pytest.mark.parametrize(
    ("inner", "said"),
    [
        (b"}U\x010]U\x01aq\x000" + SHARED + b"h\x3bas", "list where a WordNet id"),
        (b"}K\x01" + b"2\x86" * 60 + b"]s", "DUP of what"),
        (b"}K\x01" + HASHED + b"]s", "BINGET of what"),
        (b"}(K\x00" + MANY + b"".join(b"K%ch\x01" % i for i in range(1, 50)) + b"u", "more than"),
    ],
    ids=["printed", "duplicated", "hashed", "multiplied"],
)
def test_a_few_bytes_that_would_take_for_ever(tmp_path, inner, said, monkeypatch):
    monkeypatch.setattr("lt_extrap.data.released._MOST", 10_000)
    with pytest.raises(DataError, match=said):
        read_relation(raw(tmp_path / "a.npy", pickled(inner)))


def test_a_pickle_changes_no_class(tmp_path):
    named = b"\x80\x02cnumpy.core.multiarray\nscalar\n"
    with pytest.raises(DataError, match="state"):
        read_relation(raw(tmp_path / "a.npy", named + b"N}U\x08injectedK\x07s\x86b."))
    assert not hasattr(released._Scalar, "injected")


def test_files_that_are_something_else(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(3))
    for file, said in (
        (tmp_path / "a.npy", "an array of int64"),
        (tmp_path / "none.npy", "FileNotFoundError"),
        (raw(tmp_path / "b.npy", b"\x80\x04" + b"r" + struct.pack("<I", 2**32 - 1) + b"N."), "LONG_BINPUT 4294967295"),
        (raw(tmp_path / "c.npy", b"\x80\x04N."), "NoneType where an array"),
        (raw(tmp_path / "d.npy", pickle.dumps(RELATION)[:-9]), "Error"),
        (raw(tmp_path / "e.npy", b""), "Error"),
    ):
        with pytest.raises(DataError, match=said):
            read_relation(file)
    (tmp_path / "f.npy").write_bytes(b"PK\x03\x04")
    with pytest.raises(DataError, match="magic"):
        read_relation(tmp_path / "f.npy")


def test_the_relation_on_a_folder(tmp_path):
    for path in (f"{DACE}/b.JPEG", f"{DACE}/a.JPEG", f"{DACE}/notes.txt", "n01443537/a.JPEG", "n03126707/a.JPEG"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    (tmp_path / MINNOW).mkdir()
    (tmp_path / f"{DRESS}.tar").touch()
    relation = {"0": [DACE, MINNOW, DACE], "n01443537": ["n01443537", DRESS, DACE], "2": ["n03126707"]}
    matched = match(relation, TABLE, tmp_path)
    assert [made.wnid for made in matched.classes] == [DACE, "n03126707"]
    assert [made.name for made in matched.classes] == ["dace", "crane (n03126707)"]
    assert [made.spellings for made in matched.classes] == [["dace", "Leuciscus leuciscus"], ["crane"]]
    assert [(pair.target_name, pair.aux, pair.rank) for pair in matched.pairs] == [
        ("tench", 0, None),
        ("goldfish", 0, None),
        ("crane", 1, None),
    ]
    assert (matched.targets, matched.absent, matched.packed) == (["n01443537"], [MINNOW, DRESS], 1)


@pytest.mark.parametrize(
    ("relation", "folder", "said"),
    [
        ({"3": [DACE], "n1": [], "0": []}, ".", "2 that are none: 3, n1"),
        (RELATION, "none", "no folder"),
        (RELATION, ".", "1 lie there as a tar"),
    ],
)
def test_a_relation_that_does_not_fit(tmp_path, relation, folder, said):
    (tmp_path / f"{DACE}.tar").touch()
    with pytest.raises(DataError, match=said):
        match(relation, TABLE, tmp_path / folder)
