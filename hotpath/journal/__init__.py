"""The journal: every event of a run, on the disk, so that nothing is lost and the run can be run again.

reader.py       Journal(folder): finished, cut off or growing                <- begin here
format.py       what lies in the folder, byte for byte
writer.py       one ring's segments and chain
process.py      the process: rings -> writers; keeper.py syncs and makes room meanwhile
watch.py        the supervisor's eye on it
"""

from hotpath.journal.folders import journal_root, refuse_earlier_recording, run_folder
from hotpath.journal.format import event_type
from hotpath.journal.reader import Journal

__all__ = ["Journal", "event_type", "journal_root", "refuse_earlier_recording", "run_folder"]
