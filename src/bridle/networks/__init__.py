"""Networks of several layers: the same data, the same network, another cost.

The classifier around them is `bridle.NetworkClassifier`, in ``estimators/``.

======================= ==========================================================================
file                    subject
======================= ==========================================================================
``backpropagation.py``  the four equations, to be read beside their text
``activations.py``      what a hidden layer does
``costs.py``            outputs, costs, and the error that each pair of them sends back
``parameters.py``       all weights in one vector; where they start
``epoch.py``            once over the samples, batch by batch, in plain NumPy: the truth
``compiled.py``         the same in compiled code
``training.py``         epoch after epoch: figures, early stopping
``samples.py``          features and targets, as an epoch wants them
======================= ==========================================================================
"""

from bridle.progress import Epoch

__all__ = ["Epoch"]
