"""What became of every candidate, by stage, reason and shot group."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from rich.table import Table

from lt_extrap.curate.curation import Curation
from lt_extrap.curate.proposers.random import RandomProposer
from lt_extrap.curate.state import FORGOTTEN, NOT_NEEDED, State
from lt_extrap.curate.web.failure import kind_of
from lt_extrap.model.shots import Shot

GROUPS = (Shot.MANY, Shot.MEDIUM, Shot.FEW)
# A class counts for the group of the target that it is nearest to; one that is nobody's neighbor for none.
_SHOT = """
WITH nearest AS (
    SELECT key, shot FROM (
        SELECT p.key AS key, t.shot AS shot, row_number() OVER (PARTITION BY p.key ORDER BY p.rank, p.target) AS place
        FROM pair p JOIN target t ON t.label = p.target)
    WHERE place = 1
    UNION SELECT 'target:' || label, shot FROM target)
"""
_REASONS = (
    _SHOT
    + """
SELECT coalesce(n.shot, '-'),
       CASE WHEN c.ruled IS NULL THEN 'candidates' WHEN c.form IS NULL THEN 'candidates'
            WHEN c.reason IS NOT NULL THEN 'images' WHEN c.sha256 IS NULL THEN 'images' WHEN f.id IS NULL THEN 'images'
            WHEN s.key IS NULL THEN 'selection' WHEN s.reason IS NOT NULL THEN 'selection' ELSE 'kept' END,
       CASE WHEN c.ruled IS NULL THEN 'to do' WHEN c.form IS NULL THEN 'caption'
            WHEN c.reason IN ('forgotten', 'not_needed') THEN c.reason WHEN c.reason IS NOT NULL THEN 'unreadable'
            WHEN c.sha256 IS NULL THEN 'to do' WHEN f.id IS NULL THEN 'same file'
            WHEN s.key IS NULL THEN 'to do' ELSE s.reason END,
       count(*)
FROM offered c LEFT JOIN nearest n USING (key)
LEFT JOIN (SELECT min(id) AS id FROM offered WHERE form IS NOT NULL AND sha256 IS NOT NULL GROUP BY key, sha256) f
    ON f.id = c.id
LEFT JOIN selection s ON s.key = c.key AND s.sha256 = c.sha256
WHERE NOT ? OR c.key NOT LIKE 'target:%'
GROUP BY 1, 2, 3
"""
)


@dataclass(frozen=True)
class Funnel:
    """Candidates by what became of them.

    Attributes:
        counts: of (stage, reason, shot); the stage `kept` has the reason None.
        refused: proposed neighbors that were dropped, by (reason, shot).
    """

    counts: Counter[tuple[str, str | None, str]] = field(default_factory=Counter)
    refused: Counter[tuple[str, str]] = field(default_factory=Counter)

    def to_do(self, stages: Collection[str]) -> int:
        """Candidates with which one of these stages is not done."""
        return sum(count for (stage, reason, _), count in self.counts.items() if reason == "to do" and stage in stages)

    @property
    def read(self) -> int:
        """Candidates that are images whose captions name their class."""
        return sum(count for (stage, _, _), count in self.counts.items() if stage in ("selection", "kept"))

    @property
    def suspected(self) -> int:
        """Candidates of classes that may be a target."""
        return sum(count for (_, reason, _), count in self.counts.items() if reason == "suspect")

    @property
    def kept(self) -> int:
        """Candidates that were kept."""
        return sum(count for (stage, _, _), count in self.counts.items() if stage == "kept")

    def table(self) -> Table:
        """A row a reason, in the order of the stages, and the share that was kept."""
        none = any(shot == "-" for *_, shot in (*self.counts, *self.refused))
        shown = [*GROUPS, "-"] if none else list(GROUPS)
        table = Table("stage", "reason", *map(str, shown), "all")
        for column in table.columns[2:]:
            column.justify = "right"

        def add(stage: str, reason: str, numbers: list[int]) -> None:
            table.add_row(stage, reason, *(f"{number:,}" for number in (*numbers, sum(numbers))))

        for reason in sorted({reason for reason, _ in self.refused}):
            add("neighbors", reason, [self.refused[reason, str(shot)] for shot in shown])
        add("candidates", "found", [self._all(str(shot)) for shot in shown])
        for stage in ("candidates", "images", "selection"):
            for reason in sorted({str(reason) for at, reason, _ in self.counts if at == stage}):
                add(stage, reason, [-self.counts[stage, reason, str(shot)] for shot in shown])
        kept = [self.counts["kept", None, str(shot)] for shot in shown]
        add("selection", "kept", kept)
        shares = [(kept[i], self._all(str(shot))) for i, shot in enumerate(shown)]
        shares.append((sum(kept), sum(self.counts.values())))
        table.add_row("", "share kept", *(f"{part / whole:.0%}" if whole else "-" for part, whole in shares))
        return table

    def _all(self, shot: str) -> int:
        return sum(count for (_, _, of), count in self.counts.items() if of == shot)


def funnel(state: State, *, auxiliary_only: bool = False) -> Funnel:
    """Count what became of every candidate and of every neighbor that was proposed.

    Args:
        state: of the curation.
        auxiliary_only: leave out the candidates of target classes.
    """
    found = Funnel()
    for shot, stage, reason, count in state.rows(_REASONS, auxiliary_only):
        found.counts[stage, reason, shot] += count
    for reason, shot, count in state.rows(
        "SELECT reason, coalesce(shot, '-'), count(*) FROM refused LEFT JOIN target ON label = target GROUP BY 1, 2"
    ):
        found.refused[reason, shot] += count
    return found


def unread(state: State, most: int = 10) -> list[tuple[str, int]]:
    """Why candidates could not be read, and how many: the most frequent reasons; those of downloads by their kinds."""
    counts, example = Counter[str](), dict[str, str]()
    for reason, count in state.rows(
        "SELECT reason, count(*) FROM offered WHERE reason NOT IN (?, ?) GROUP BY 1 ORDER BY 1", FORGOTTEN, NOT_NEEDED
    ):
        what = kind_of(reason) or reason
        counts[what] += count
        example.setdefault(what, reason)
    return [
        (what if example[what] == what else f"{what}, such as {example[what].partition(': ')[2]}", count)
        for what, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most]
    ]


def short(curation: Curation) -> list[str]:
    """Classes with fewer images than asked for, a line each: how many of how many, and its name."""
    most = curation.config.images_per_class
    return [
        f"{count} of {most}: {name} ({key})"
        for key, name, count in curation.state.rows(
            "SELECT key, name, (SELECT count(*) FROM selection s WHERE s.key = sought.key AND s.reason IS NULL) AS n "
            "FROM sought WHERE used AND n < ? ORDER BY n, key",
            most,
        )
    ]


def lonely(curation: Curation) -> list[tuple[str, bool]]:
    """Target classes that were to have neighbors and have none: name and id, and whether a synset is known."""
    state = curation.state
    at_random = state.rows("SELECT 1 FROM sought WHERE used AND proposer = ? LIMIT 1", RandomProposer.name)
    if curation.config.what == "target" or list(at_random):
        return []
    return [
        (f"{name} ({id})" if name != id else name, wnid is not None)
        for name, id, wnid in state.rows(
            "SELECT name, id, wnid FROM target WHERE label NOT IN (SELECT target FROM pair) ORDER BY label"
        )
    ]
