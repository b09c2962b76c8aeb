"""Class names that may be confused."""

from collections.abc import Iterator

from lt_extrap.data.inventory import AUXILIARY, Inventory
from lt_extrap.data.spelling import alike, contained, same
from lt_extrap.findings.finding import Case, Finding, Severity, counted


def find_confusable_names(inventory: Inventory) -> Iterator[Finding]:
    """Names that two classes share, nearly share, or of which one holds the other."""
    if _are_numbers(inventory.names):  # the target's names are its labels
        return
    names = (*inventory.names, *(() if _are_numbers(inventory.auxiliary) else inventory.auxiliary))
    target = len(inventory.names)

    def of(position: int) -> str:
        return inventory.class_name(position if position < target else position - target + int(AUXILIARY))

    shared = [group for group in same(names) if len(group) > 1]
    both = [group for group in shared if group[0] < target <= group[-1]]
    findings = (
        (
            Severity.ERROR,
            "auxiliary_name",
            both,
            ("target name is", "target names are", "given to an auxiliary class too"),
            "take that class out of the auxiliary set: training on it as another class would be wrong labels",
        ),
        (
            Severity.NOTE,
            "same_name",
            [group for group in shared if group not in both],
            ("name stands", "names stand", "for several classes"),
            "labels tell them apart, tables show their ids",
        ),
        (
            Severity.NOTE,
            "alike_names",
            alike(names),
            ("pair of names differs", "pairs of names differ", "in a hyphen, a plural or one letter"),
            "check that these are two classes",
        ),
        (
            Severity.NOTE,
            "contained_names",
            contained(names),
            ("name is", "names are", "part of another"),
            "a search for the shorter finds the longer",
        ),
    )
    for severity, kind, groups, (one, many, what), remedy in findings:
        if groups:
            cases = tuple(Case((), " and ".join(map(of, group))) for group in groups)
            yield Finding(severity, kind, f"{counted(len(cases), one, many)} {what}", remedy, cases)


def _are_numbers(names: tuple[str, ...]) -> bool:
    """Whether these are the names that classes have without names."""
    return names == tuple(map(str, range(len(names))))
