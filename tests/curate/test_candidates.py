"""What a source is asked, and when it is asked again."""

from collections.abc import Iterator

import pytest

from lt_extrap.config.curate import CurateConfig
from lt_extrap.config.curate_source import FolderSource
from lt_extrap.curate.curation import Curation
from lt_extrap.curate.records import Candidate
from lt_extrap.curate.stages import candidates
from lt_extrap.curate.state import FORGOTTEN, State
from lt_extrap.signals import StopSignal


class Album:
    """A source that finds pictures by their captions, as a search engine does."""

    name, notes = "album", ()

    def __init__(self) -> None:
        self.pictures = ["a carp", "a koi carp", "a cyprinid"]
        self.asked = 0

    def offers(self, sought) -> bool:
        return True

    def classes(self):
        return ()

    def read(self, place: str) -> bytes:
        raise AssertionError(f"nobody reads {place} here")

    def search(self, sought) -> Iterator[Candidate]:
        self.asked += 1
        for caption in self.pictures:
            if any(spelling in caption for spelling in sought.spellings):
                yield Candidate(caption.replace(" ", "_"), caption)


@pytest.fixture
def curation(tmp_path):
    with State(tmp_path) as state:
        made = Curation(CurateConfig(candidates_per_class=10, source=FolderSource()), tmp_path, state, StopSignal())
        vars(made)["source"] = Album()
        yield made


@pytest.fixture(autouse=True)
def _source_id(monkeypatch):
    monkeypatch.setattr(Curation, "source_id", "album-0")


def spelled(curation, *spellings) -> list[tuple[str, int, str | None]]:
    """Collect what is offered for a class of these spellings: place, position, form."""
    with curation.state.transaction():
        names = "[" + ", ".join(f'"{spelling}"' for spelling in spellings) + "]"
        curation.state.write("REPLACE INTO sought VALUES ('k', 'n', ?, NULL, NULL, '', 'p', 1)", [(names,)])
    candidates.collect(curation)
    return list(curation.state.rows("SELECT place, position, form FROM offered ORDER BY position"))


def test_a_class_with_other_spellings_is_asked_for_again(curation):
    assert spelled(curation, "koi carp") == [("a_koi_carp", 0, "koi carp")]
    both = [("a_koi_carp", 0, "koi carp"), ("a_cyprinid", 1, "cyprinid")]
    assert spelled(curation, "koi carp", "cyprinid") == both
    assert spelled(curation, "koi carp", "cyprinid") == both
    assert curation.source.asked == 2
    assert spelled(curation, "cyprinid") == [("a_cyprinid", 0, "cyprinid")]


def test_a_source_that_has_grown_is_placed_as_a_first_search_would(curation):
    spelled(curation, "carp")
    with curation.state.transaction():
        curation.state.write("UPDATE candidate SET sha256 = place")
        curation.state.write("DELETE FROM search")
    curation.source.pictures.insert(1, "a mirror carp")
    assert [(place, position) for place, position, _ in spelled(curation, "carp")] == [
        ("a_carp", 0),
        ("a_mirror_carp", 1),
        ("a_koi_carp", 2),
    ]
    known = dict(curation.state.rows("SELECT place, sha256 FROM candidate"))
    assert known == {"a_carp": "a_carp", "a_koi_carp": "a_koi_carp", "a_mirror_carp": None}


def test_what_is_forgotten_is_not_captioned_again(curation):
    spelled(curation, "carp")
    with curation.state.transaction():
        curation.state.write("UPDATE candidate SET reason = ?, caption = NULL WHERE position = 0", [(FORGOTTEN,)])
        curation.state.write("DELETE FROM search")
    spelled(curation, "carp")
    assert curation.state.one("SELECT caption FROM candidate WHERE reason = ?", FORGOTTEN) is None
    assert spelled(curation, "cyprinid")
    assert curation.state.one("SELECT count(*) FROM candidate") == 2
