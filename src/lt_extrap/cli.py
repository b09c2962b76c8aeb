"""What every command does around Hydra: a mistake ends in one message of ours and status 1."""

import errno
import os
import sys
from collections.abc import Callable
from typing import Any

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from lt_extrap.errors import ConfigError, LtExtrapError, RunError


def run(task: Callable[[], Any]) -> None:
    """Run a function that `hydra.main` made, with the words of the command line.

    Everything else than a mistake of the user's keeps its traceback.
    """
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # or Hydra prints errors itself and they never come here
    try:
        task()
    except LtExtrapError as error:
        sys.exit(str(error))
    except (HydraException, OmegaConfBaseException) as error:
        sys.exit(str(told(error)))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        sys.exit(str(RunError("room on the disk", str(error), "free some and run the same command again")))


def told(error: HydraException | OmegaConfBaseException) -> ConfigError:
    """An error of Hydra or OmegaConf as one of ours."""
    reasons = [error, *([error.__cause__] if error.__cause__ else [])]
    found = "; ".join(line for reason in reasons for line in str(reason).splitlines() if line.strip())
    return ConfigError(
        "overrides that name keys and options of conf/", found, "correct them; --help prints the options"
    )
