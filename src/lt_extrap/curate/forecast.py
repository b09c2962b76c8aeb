"""What a curation will take, told before it asks for anything, and again when the first classes have shown it."""

import shutil
import time

from lt_extrap.curate.curation import IMAGES, Curation

FIRST = 20  # classes after which it is told again


class Forecast:
    """Of one stage.

    Args:
        what: is done a class, in words: "candidates", "images".
        classes: to do.
    """

    def __init__(self, what: str, classes: int) -> None:
        self.what, self.classes = what, classes
        self._began, self._told = time.monotonic(), classes <= FIRST

    def after(self, classes: int, count: int) -> None:
        """Tell once, when the first classes are done: how many of what they had, and what all will take.

        Args:
            classes: done by this start.
            count: of what they had.
        """
        if self._told or classes < FIRST:
            return
        self._told = True
        share = self.classes / classes
        minutes = (time.monotonic() - self._began) * share / 60
        print(
            f"forecast after {classes} classes: about {count * share:,.0f} {self.what} of {self.classes:,} classes, "
            f"{minutes:,.0f} minutes",
            flush=True,
        )


def before(curation: Curation, classes: int) -> None:
    """Tell the most that is going to be asked for."""
    most = curation.config.candidates_per_class
    free = shutil.disk_usage(curation.folder).free / 1e9
    print(
        f"forecast: {classes:,} classes, at most {classes * most:,} candidates of {curation.source.name} "
        f"(candidates_per_class={most}); {free:,.0f} GB free for {curation.folder / IMAGES}",
        flush=True,
    )
