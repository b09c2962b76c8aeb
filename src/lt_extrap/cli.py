"""What every command does around Hydra: a mistake ends in one message of ours and status 1."""

import errno
import os
import sys
from collections.abc import Callable
from typing import Any

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from lt_extrap.errors import LtExtrapError, RunError
from lt_extrap.refusals import refuse_bare_lists, told


def run(task: Callable[[], Any]) -> None:
    """Run a function that `hydra.main` made, with the words of the command line.

    Everything else than a mistake of the user's keeps its traceback.
    """
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # or Hydra prints errors itself and they never come here
    try:
        refuse_bare_lists(sys.argv[1:])
        task()
    except LtExtrapError as error:
        sys.exit(str(error))
    except (HydraException, OmegaConfBaseException) as error:
        sys.exit(str(told(error)))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        sys.exit(str(RunError("room on the disk", str(error), "free some and run the same command again")))
