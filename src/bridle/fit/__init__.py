"""From features and targets to an optimum, with proof.

=================== ==============================================================================
file                subject
=================== ==============================================================================
``problem/``        mean cross-entropy with a penalty: its value and gradient, its targets, and
                    how far from the optimum a point can be at most
``requests/``       what may be asked of the data: sums over its rows
``readers/``        who answers: arrays, sparse matrices, tensors on a device
``solvers/``        who asks: which method a problem goes to, and the methods
``arrays.py``       the solvers' arithmetic on NumPy's arrays or tensors
``placement.py``    where products are made: here, on a device, or streamed to it
``precision.py``    in which arithmetic passes are taken: coarse at first, float64 for the proof
``threads.py``      how many threads the libraries' products take meanwhile
``report.py``       what is known about a fit when it ends
=================== ==============================================================================
"""

from bridle.fit.report import FitReport

__all__ = ["FitReport"]
