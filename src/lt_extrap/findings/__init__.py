"""What speaks against a data set being what one thinks it is."""

from collections.abc import Sequence
from dataclasses import dataclass

from lt_extrap.data.facts import FactStore
from lt_extrap.data.inventory import Inventory
from lt_extrap.findings.copies import find_copies
from lt_extrap.findings.finding import Case, Finding, Sample, Severity
from lt_extrap.findings.folders import ClassFolders, class_folders, find_disorder
from lt_extrap.findings.lists import find_list_faults
from lt_extrap.findings.names import find_confusable_names
from lt_extrap.findings.pictures import find_odd_pictures, read_pictures

__all__ = ["Case", "Finding", "Findings", "Sample", "Severity", "find"]


@dataclass(frozen=True)
class Findings:
    """All that was found.

    Attributes:
        findings: the gravest first.
        folders: the folders that tell the classes, if there are such.
        exclude: paths of the training images that had better be left out by `target.exclude`.
    """

    findings: tuple[Finding, ...]
    folders: ClassFolders | None
    exclude: tuple[str, ...]

    def of(self, severity: Severity) -> list[Finding]:
        """The findings that matter so much."""
        return [finding for finding in self.findings if finding.severity == severity]


def find(
    inventory: Inventory,
    files: Sequence[str],
    missing: Sequence[int],
    store: FactStore,
    *,
    tiny: int,
    allow_empty: bool,
) -> Findings:
    """Look for everything that is known to go wrong.

    Args:
        inventory: the rows of all lists.
        files: where each of `inventory.paths` lies.
        missing: positions of those that are not there.
        store: facts about all others.
        tiny: pixels; images with a shorter side are named.
        allow_empty: whether classes may have no training images.
    """
    pictures = read_pictures(files, missing, store, tiny=tiny)
    copies = find_copies(inventory, pictures, files, store)
    folders = class_folders(inventory)
    found = [
        *find_list_faults(inventory, missing, allow_empty=allow_empty),
        *find_disorder(inventory, folders),
        *copies.findings,
        *find_odd_pictures(inventory, pictures),
        *find_confusable_names(inventory),
    ]
    trained = set(inventory.path_of[~inventory.evaluated].tolist())
    unwanted = trained & (copies.exclude | pictures.reasons.keys())
    order = [*Severity]
    return Findings(
        tuple(sorted(found, key=lambda finding: order.index(finding.severity))),
        folders,
        tuple(inventory.paths[path] for path in sorted(unwanted)),
    )
