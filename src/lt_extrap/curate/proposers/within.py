"""Neighbors that a source has images of."""

from collections.abc import Iterator

from lt_extrap.curate.records import Asking, Proposer, Sought, Source, TargetClass


class Within:
    """What a proposer names and a source may have images of, such as the folders of ImageNet-21k.

    Args:
        proposer: who names classes.
        source: who is asked about each.
    """

    def __init__(self, proposer: Proposer, source: Source) -> None:
        self.name = proposer.name
        self._proposer, self._source = proposer, source

    def propose(self, target: TargetClass) -> Iterator[tuple[Sought, float | None]]:
        """As the proposer does, without what the source does not offer."""
        return (proposal for proposal in self._proposer.propose(target) if self._source.offers(proposal[0]))

    def ask(self) -> bool:
        """As the proposer does, if it has to ask."""
        return isinstance(self._proposer, Asking) and self._proposer.ask()
