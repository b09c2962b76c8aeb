"""The card of an auxiliary set: Markdown with the head that hubs read. All of it is of the set: it has no date."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from huggingface_hub import DatasetCardData

from lt_extrap.data.stored import markdown
from lt_extrap.data.stored.schema import (
    ATTRIBUTION,
    CLASSES,
    MANIFEST,
    PAIRS,
    PROVENANCE,
    ClassRecord,
    Fate,
    Header,
    PairRecord,
    Provenance,
)
from lt_extrap.data.target import ClassTable
from lt_extrap.model.shots import Shot

_SHOTS = (Shot.MANY, Shot.MEDIUM, Shot.FEW)
_NEIGHBORS = 20  # of a target that are named
_THIN = 10  # images; classes with fewer are told

_NO_NEIGHBORS = {  # why a class that was proposed is no neighbor, in the order of the rules
    "forbidden": "its name is on a list of names that nothing may have",
    "target": "it is a target class",
    "shared_name": "another of its names is a target's",
    "hypernym": "a target is a kind of it: its images show targets",
    "hyponym": "it is a kind of a target: its images are target images",
    "misspelled": "its name is one letter from a target's",
    "near_synonym": "its name means nearly what a target's means",
    "person": "a kind of person",
    "reviewed": "a person looked at it and dropped it",
}
_DROPPED = {  # why a candidate was not kept, in the order in which it was looked at
    "caption": "its caption does not name its class",
    "forgotten": "removed for good, as was asked for",
    "not_needed": "its class had enough images before it",
    "unreadable": "not downloaded, or no readable image",
    "same file": "the same bytes as another candidate of its class",
    "reviewed": "a person looked at it and dropped it",
    "small": "its shorter edge is too short",
    "blank": "it shows one even color",
    "placeholder": "it stands for no class: offered for many that have nothing in common",
    "copy_of_test": "a near-copy of a test image",
    "copy_of_val": "a near-copy of a validation image",
    "copy_of_train": "a near-copy of a training image",
    "cosine": "outside the band of similarity to the targets of its class",
    "duplicate": "a near-copy of a kept image of its class",
    "duplicate_of_another_class": "a near-copy of a kept image of another class",
    "suspect": "its class may be a target under another name",
    "more_than_asked": "not drawn: its class had more than were asked for",
    "to do": "not looked at",
}
_COPIES = {"test": "copy_of_test", "val": "copy_of_val", "train": "copy_of_train"}
_SPLITS = {"test": "test", "val": "validation", "train": "training"}
_SETTINGS = {  # the first part of their keys, and what they decide
    "proposer": "neighbors by",
    "names": "names",
    "source": "images from",
    "download": "downloads",
    "features": "features",
    "filter": "filter",
    "": "numbers",
}
_HUB_LICENCES = ("cc0-1.0", *(f"cc-by{more}-4.0" for more in ("", "-sa", "-nc", "-nc-sa", "-nd", "-nc-nd")))
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


@dataclass(frozen=True)
class Tally:
    """Images by class, licence and source."""

    images: Counter[int] = field(default_factory=Counter)
    licences: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)


UNKNOWN = "unknown"  # the licence, source or proposer that nobody told


def card(
    header: Header,
    table: ClassTable,
    classes: Sequence[ClassRecord],
    pairs: Sequence[PairRecord],
    tally: Tally,
    notes: Sequence[str] = (),
    provenance: Provenance | None = None,
) -> str:
    """What README.md holds.

    Args:
        header: of the set.
        table: the classes of the target set.
        classes: by aux.
        pairs: of each target by rank.
        tally: of all images.
        notes: paragraphs at its beginning.
        provenance: how a curation made it; None where none did.
    """
    drawn = _Card(header, table, classes, pairs, tally, provenance)
    parts = [
        drawn.head(),
        f"# Auxiliary classes for {markdown.plain(header.target)}",
        f"{header.classes:,} classes with {header.images:,} images, to train on beside the long-tailed classes of "
        f"{markdown.plain(header.target)}: they are {drawn.relation()}. Nothing is to be measured on them.",
        *map(markdown.plain, notes),
        drawn.glance(),
        "Creators, licences and addresses of single images are in "
        f"`{ATTRIBUTION}`. How to train on the set, and how to download its images where they did not come along:",
        _USE.format(words=_PAIRED if pairs else _UNPAIRED),
        "## Classes and images by group",
        drawn.by_shot(),
        "Groups are by the training images of a target class: many more than 100, medium 20 to 100, few fewer. A class "
        "that is a neighbor of several targets counts in the group of each.",
        markdown.counts_table("proposed by", "classes", Counter(made.proposer or UNKNOWN for made in classes)),
        "## How it was made",
        *drawn.making(),
        "## What was left out, and why",
        *drawn.funnel(),
        "## Evaluation images",
        *drawn.evaluation(),
        "## Licences",
        *drawn.licences(),
        "## Sources, and who does not want to be in it",
        *drawn.sources(),
        "## Known weaknesses",
        "\n".join(f"- {weakness}" for weakness in drawn.weaknesses()),
        "## Images of each class",
        *drawn.by_class(),
    ]
    return "\n\n".join(parts) + "\n"


_PAIRED = "component=silencing target.neighbors.folder=<this folder>"
_UNPAIRED = "component=random target.random.folder=<this folder> target.random.neighbors_per_class=null"
_USE = """```sh
python -m lt_extrap.train target=<its target> {words}
python -m lt_extrap.curate target=<its target> do=restore restore=<this folder> folder=<new> download.contact=<you>
```"""


@dataclass(frozen=True)
class _Card:
    """The parts of a card that are made of the set."""

    header: Header
    table: ClassTable
    classes: Sequence[ClassRecord]
    pairs: Sequence[PairRecord]
    tally: Tally
    provenance: Provenance | None

    def relation(self) -> str:
        """What its classes are to the targets, as far as that was looked at."""
        if self.pairs:
            return "like those and none of them"
        drawn = self.provenance is not None and self.provenance.settings.get("proposer") == "random"
        return f"{'drawn at random, less targets' if drawn else 'paired with none of those'}, and need not be like them"

    def head(self) -> str:
        """What hubs read: YAML between two lines of ---."""
        licences = [self._hub_licence(licence) for licence in self.tally.licences]
        images = self.header.images
        data = DatasetCardData(
            pretty_name=f"Auxiliary classes for {self.header.target}",
            license=sorted({licence for licence in licences if licence}) if all(licences) else "other",
            task_categories=["image-classification"],
            size_categories=[next((name for most, name in _SIZES if images < most), "n>1M")],
            tags=["long-tail", "auxiliary-classes", "category-extrapolation", "lt-extrap"],
            configs=[  # what the hub's viewer shows
                {"config_name": name, "data_files": file, **({"default": True} if name == "images" else {})}
                for name, file in (("images", MANIFEST), ("classes", CLASSES), ("pairs", PAIRS))
            ],
        )
        return f"---\n{data.to_yaml()}\n---"

    def glance(self) -> str:
        """The figures that a reader wants first."""
        header, targets = self.header, len({pair.target for pair in self.pairs})
        rows = [
            ["Images", f"{header.images:,}"],
            ["Auxiliary classes", f"{header.classes:,}"],
            ["Neighbor pairs", f"{header.pairs:,}, of {targets:,} of {len(self.table):,} target classes"],
            ["Compared with evaluation images", self._checked()],
            ["Licences", self._in_short(self.tally.licences)],
            ["Made by", f"{markdown.plain(header.made_by)}, format {header.format}"],
        ]
        if without := header.classes - len(self.tally.images):
            rows.insert(2, ["Classes without an image", f"{without:,}"])
        return markdown.table(("in short", ""), rows)

    def by_shot(self) -> str:
        shot_of_id = dict(zip(self.table.ids, self.table.shots, strict=True))
        neighbors = Counter(pair.target for pair in self.pairs)
        rows = []
        for shot in _SHOTS:
            of_shot = {pair.aux for pair in self.pairs if shot_of_id[pair.target] == shot}
            rows.append(
                [
                    str(shot),
                    f"{self.table.shots.count(shot):,}",
                    f"{sum(shot_of_id[target] == shot for target in neighbors):,}",
                    f"{sum(count for target, count in neighbors.items() if shot_of_id[target] == shot):,}",
                    f"{len(of_shot):,}",
                    f"{sum(self.tally.images[aux] for aux in of_shot):,}",
                ]
            )
        return markdown.table(
            ("group", "target classes", "with neighbors", "pairs", "auxiliary classes", "their images"), rows
        )

    def making(self) -> Iterator[str]:
        if self.provenance is None:
            yield "Not by a curation of lt-extrap: nothing more is known of it."
            return
        groups: dict[str, list[str]] = {}
        for key, value in self.provenance.settings.items():
            group = key.partition(".")[0]
            group = group if group in _SETTINGS else ""
            groups.setdefault(group, []).append(markdown.code(f"{key}={value}"))
        yield "By a curation with these words of its command, which `docs/curating.md` explains:"
        yield markdown.table(
            ("what", "words"),
            [[title, " ".join(groups[group])] for group, title in _SETTINGS.items() if group in groups],
        )

    def funnel(self) -> Iterator[str]:
        """What became of all that was proposed and found."""
        if self.provenance is None:
            yield "Not known."
            return
        fates = self.provenance.fates
        shots = [*_SHOTS, *(["-"] if any(fate.shot == "-" for fate in fates) else [])]
        heads = ["reason", "what it means", *(f"near {shot}" if shot != "-" else "near none" for shot in shots), "all"]

        def row(what: str, meaning: str, of: Callable[[Fate], bool]) -> list[str]:
            numbers = [sum(fate.count for fate in fates if of(fate) and fate.shot == shot) for shot in shots]
            return [what, meaning, *(f"{number:,}" for number in (*numbers, sum(numbers)))]

        refused = [fate for fate in fates if fate.stage == "neighbors"]
        if refused:
            yield "Classes that were proposed as neighbors and are none:"
            yield markdown.table(
                heads,
                [
                    row(
                        f"`{reason}`" if reason in _NO_NEIGHBORS else markdown.plain(reason),
                        _NO_NEIGHBORS.get(reason, ""),
                        is_,
                    )
                    for reason, is_ in _reasons(refused, _NO_NEIGHBORS)
                ],
            )
        rows = [row("**found**", "images that the source offered", lambda fate: fate.stage != "neighbors")]
        rows += [
            row(f"`{reason}`" if reason in _DROPPED else markdown.plain(reason), _DROPPED.get(reason, ""), is_)
            for reason, is_ in _reasons([f for f in fates if f.stage not in ("neighbors", "kept")], _DROPPED)
        ]
        kept = row("**kept**", "images of this set", lambda fate: fate.stage == "kept")
        yield "Images that were found for the others, each counted for the first reason that holds:"
        shares = [self._share(shot) for shot in (*shots, None)]
        yield markdown.table(heads, [*rows, kept, ["", "share kept", *(markdown.percent(*share) for share in shares)]])
        yield (
            "The columns are the groups of the target that a class is nearest to. A reason that takes most of one "
            "group is set wrongly for it."
        )
        if self.provenance.left_out:
            yield "Found, and not offered by the source:"
            yield markdown.counts_table("reason", "images", Counter(self.provenance.left_out))
        if self.provenance.failures:
            yield "Of those that could not be read:"
            yield markdown.counts_table("reason", "images", Counter(self.provenance.failures))

    def evaluation(self) -> Iterator[str]:
        """Whether images of the set may be among those that a model is measured on."""
        if self.provenance is None:
            yield "**Whether images of this set are copies of evaluation images is not known.**"
            return
        compared = {found.split: found for found in self.provenance.compared}
        for split in ("test", "val"):
            if split not in compared:
                yield f"**No {_SPLITS[split]} images were compared**: the target set had none, or they were not there."
        rows = []
        for split, name in _SPLITS.items():
            if (found := compared.get(split)) is not None:
                copies = sum(fate.count for fate in self.provenance.fates if fate.reason == _COPIES[split])
                rows.append([name, f"{found.images:,}", f"{found.unread:,}", f"{copies:,}"])
        if rows:
            yield markdown.table(("target images", "compared", "not readable", "near-copies found and dropped"), rows)
            yield (
                "Near-copies are found by equal pixels, perceptual hashes and near features, also mirrored and "
                "cropped. What is cropped by more than a fifth, or another photograph of the same scene, is not found."
            )

    def licences(self) -> Iterator[str]:
        yield markdown.counts_table("licence", "images", self.tally.licences)
        yield (
            f"As the sources say, image by image in `{ATTRIBUTION}` with the creators that are to be named. A licence "
            "holds for the image, not for who is in it; one of the set as a whole there is not."
        )
        if unknown := self.tally.licences[UNKNOWN]:
            yield (
                f"**Of {markdown.percent(unknown, self.header.images)} of the images no licence is known.** Whether "
                "they may be trained on, and passed on, is a question of your country."
            )

    def sources(self) -> Iterator[str]:
        yield markdown.counts_table("source", "images", self.tally.sources)
        settings = self.provenance.settings if self.provenance else {}
        if self.provenance is None:
            yield "Whether those who reserve their images were asked is not known."
        elif "download.robots" not in settings:
            yield "Nothing was downloaded to make it: the images were read from disk, where no reservation is seen."
        else:
            failures = self.provenance.failures
            yield "Those that were downloaded:"
            yield "\n".join(
                (
                    _obeyed(settings["download.robots"], "robots.txt (RFC 9309)", failures.get("robots", 0)),
                    _obeyed(
                        settings.get("download.opt_out", "false"),
                        "what reserves an image, in headers (X-Robots-Tag noai, noimageai, noindex; TDM-Reservation; "
                        "Content-Usage) and in robots.txt (Content-Usage, Content-Signal)",
                        failures.get("opt_out", 0),
                    ),
                )
            )
        forgotten = (
            sum(fate.count for fate in self.provenance.fates if fate.reason == "forgotten") if self.provenance else 0
        )
        yield (
            "An image, or all of a creator, is removed for good by `do=forget`; ask whoever published this copy, with "
            f"the address, the name or the SHA-256 of `{MANIFEST}`."
            + (f" {forgotten:,} were removed so far." if forgotten else "")
        )

    def weaknesses(self) -> Iterator[str]:
        """What a reader should not have to find out."""
        if self.provenance is not None:
            yield from map(markdown.plain, self.provenance.notes)
        yield from self._thin()
        if self.pairs and (alone := len(self.table) - len({pair.target for pair in self.pairs})):
            yield f"{alone:,} of {len(self.table):,} target classes have no neighbor here."
        if self.provenance is not None:
            yield from self._uneven()
            if self.provenance.settings.get("filter.suspects") == "keep":
                yield (
                    "Classes that look like a target under another name were **kept** (`filter.suspects=keep`): some "
                    "of these classes may be targets."
                )
        if by_name := sum(made.wnid is None for made in self.classes):
            yield (
                f"{by_name:,} of {self.header.classes:,} classes are known by their name alone, and a name may have "
                "several senses: their images may show another one."
            )
        said = "An image is of its class because its caption, or its folder, says so"
        if self.pairs:
            yield (
                f"{said}, and its features are near those of a target. Neither proves it: an image of *another* "
                "neighbor under a right caption passes often, since it is like a target too."
            )
        else:
            yield f"{said}. That does not prove it, and it need not be near any target."
        yield "No face was looked for or blurred, and no image was looked at for what it says of people."
        if self.header.images and self.tally.licences[UNKNOWN] < self.header.images:
            yield "Licences are what a source or an uploader claims; none was checked with a creator."

    def by_class(self) -> Iterator[str]:
        """Images of the neighbors of each target, and of the classes that are in no pair."""
        of_target: dict[str, list[int]] = {}
        for pair in self.pairs:
            of_target.setdefault(pair.target, []).append(pair.aux)
        rows = []
        columns = zip(self.table.ids, self.table.names, self.table.counts.tolist(), self.table.shots, strict=True)
        for id_, name, own, shot in columns:
            aux = of_target.get(id_, [])
            if self.pairs:
                images = sum(self.tally.images[one] for one in aux)
                rows.append((images, [markdown.plain(name), str(shot), f"{own:,}", f"{images:,}", self._named(aux)]))
        if rows:
            head = (
                "target class",
                "group",
                "own images",
                "images of neighbors",
                "neighbors, nearest first, and images",
            )
            yield markdown.folded("target classes", head, rows)
        related = {pair.aux for pair in self.pairs}
        others = [
            (self.tally.images[made.aux], [markdown.plain(made.name), f"{self.tally.images[made.aux]:,}"])
            for made in self.classes
            if made.aux not in related
        ]
        if others:
            yield markdown.folded("classes that are paired with no target", ("class", "images"), others)
        yield f"All classes are in `{CLASSES}`, all pairs in `{PAIRS}`" + (
            f", and how the set was made in `{PROVENANCE}`." if self.provenance else "."
        )

    def _named(self, aux: Sequence[int]) -> str:
        named = [f"{markdown.plain(self.classes[one].name)} ({self.tally.images[one]:,})" for one in aux[:_NEIGHBORS]]
        return ", ".join(named) + (f" and {len(aux) - _NEIGHBORS:,} more" if len(aux) > _NEIGHBORS else "")

    def _checked(self) -> str:
        if self.provenance is None:
            return "**not known**"
        compared = [
            f"{found.images:,} {_SPLITS[found.split]}"
            for found in self.provenance.compared
            if found.split in ("test", "val") and found.images
        ]
        return f"yes: {' and '.join(sorted(compared))}" if compared else "**no**"

    def _in_short(self, counts: Counter[str], most: int = 5) -> str:
        if not counts:
            return "no image"
        shown = [
            f"{markdown.plain(name)} {markdown.percent(count, counts.total())}"
            for name, count in markdown.most_first(counts)[:most]
        ]
        return ", ".join(shown) + (f", {len(counts) - most:,} more" if len(counts) > most else "")

    def _hub_licence(self, licence: str) -> str | None:
        """The hub's word for a licence; None where it has none."""
        word = licence.lower().replace(" ", "-")
        return word if word in _HUB_LICENCES or word == UNKNOWN else None

    def _share(self, shot: str | None) -> tuple[int, int]:
        """Kept and found candidates of a group; None = of all."""
        assert self.provenance is not None
        found = [f for f in self.provenance.fates if f.stage != "neighbors" and shot in (None, f.shot)]
        return sum(fate.count for fate in found if fate.stage == "kept"), sum(fate.count for fate in found)

    def _thin(self) -> Iterator[str]:
        thin = [made for made in self.classes if self.tally.images[made.aux] < _THIN]
        if thin:
            yield (
                f"{len(thin):,} of {self.header.classes:,} classes have fewer than {_THIN} images: "
                f"{', '.join(markdown.plain(made.name) for made in thin[:10])}{', ...' if len(thin) > 10 else ''}."
            )

    def _uneven(self) -> Iterator[str]:
        kept, found = self._share(None)
        for shot in _SHOTS:
            of_shot = self._share(shot)
            if of_shot[1] and kept and of_shot[0] / of_shot[1] < 0.5 * kept / found:
                yield (
                    f"The filters were hard on what is near {shot}-shot targets: {markdown.percent(*of_shot)} of the "
                    f"candidates were kept there, {markdown.percent(kept, found)} of all."
                )


def _reasons(fates: Sequence[Fate], order: dict[str, str]) -> Iterator[tuple[str, Callable[[Fate], bool]]]:
    """Their reasons, in this order, those that are not in it last, and which fates are of each."""
    stages = {fate.stage for fate in fates}
    found = {fate.reason for fate in fates if fate.reason is not None}
    for reason in [*(r for r in order if r in found), *sorted(found - order.keys())]:
        yield reason, lambda fate, reason=reason: fate.reason == reason and fate.stage in stages  # type: ignore[misc]


def _obeyed(values: str, what: str, refused: int) -> str:
    """A line on a policy, by the values that it had in all runs that downloaded."""
    if values == "true":
        return f"- {what}: **obeyed**; {refused:,} images were not taken because of it"
    part = "for a part of them " if "true" in values else ""
    return f"- {what}: {part}**not obeyed**"
