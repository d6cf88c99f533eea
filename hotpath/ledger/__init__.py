"""The ledger: positions and profit in whole numbers, as a fold of executions and adjustments.

    exec events ---.
    adjust events --+--> Ledger: lots, cost, cash, fees of each instrument --marks--> realised, unrealised

    position.py     one instrument's lots and what they cost, by average cost, as a fraction of whole numbers
    fees.py         what the venue asks for an execution
    fold.py         every execution once, in the order of its ring; breaks and corrections change what happened
    marks.py        the price to hold a position against: the risk gate's own reference price
    adjustments.py  what people say of positions: who, why, how much; the file that keeps it
    desk.py         from that file into the engine that runs

No float is involved. Money is micros: millionths of the instrument's currency.
"""

from hotpath.ledger.fees import FeeBook
from hotpath.ledger.fold import Execution, Ledger
from hotpath.ledger.marks import Marks
from hotpath.ledger.position import Position, Valuation

__all__ = ["Execution", "FeeBook", "Ledger", "Marks", "Position", "Valuation"]
