"""What every command does around Hydra: a mistake ends in one message of ours and status 1."""

import errno
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from lt_extrap.errors import LtExtrapError, RunError
from lt_extrap.refusals import refuse_words, told


def run(task: Callable[[], Any], *, status: Callable[[LtExtrapError], int] = lambda error: 1) -> None:
    """Run a function that `hydra.main` made, with the words of the command line.

    Everything else than a mistake of the user's keeps its traceback.

    Args:
        task: the function.
        status: of the command where it ends with an error.
    """
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # or Hydra prints errors itself and they never come here
    try:
        refuse_words(sys.argv[1:])
        task()
    except (HydraException, OmegaConfBaseException, OSError) as error:
        ours = _ours(error)
        if ours is None:
            raise
        if (code := status(ours)) == 1:
            sys.exit(str(ours))  # which several processes say with one voice
        print(ours, file=sys.stderr)
        sys.exit(code)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


def _ours(error: Exception) -> LtExtrapError | None:
    if isinstance(error, LtExtrapError):  # which is one of Hydra's too
        return error
    if isinstance(error, HydraException | OmegaConfBaseException):  # of which some are OSErrors too
        return told(error)
    return disk(error) if isinstance(error, OSError) else None


def disk(error: OSError) -> RunError | None:
    """The error in our words, if it is that of a disk that is full or may not be written, or of a path in the way."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RunError("room on the disk", str(error), "free some and run the same command again")
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return RunError("files that may be read and written", str(error), "run where you may write, or mend the rights")
    if error.errno in (errno.EEXIST, errno.ENOTDIR, errno.EISDIR):
        return RunError("folders where folders are to be, and files where files are", str(error), "give another path")
    return None
