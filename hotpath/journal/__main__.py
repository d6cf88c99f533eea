"""The journal's process: ``python -m hotpath.journal RUN_FILE FOLDER``."""

import sys

from hotpath.journal.process import main

sys.exit(main(sys.argv[1:]))
