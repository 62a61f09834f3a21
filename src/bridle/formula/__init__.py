"""What a row's loss is made of, given the parts that a kernel returns: the algebra, once.

Ordinary operations on (N,) vectors that NumPy and PyTorch spell alike. The first argument of each
function, ``xp``, is one of the two modules; a kernel's parts (see `bridle.kernels.contract`) have
the same names in both worlds.

================= ================================================================================
file              subject
================= ================================================================================
``bending.py``    softcap and temperature: the scores that the softmax sees, and their slope
``row_loss.py``   a row's loss, and its derivative by each part, term beside term
``focal.py``      the focal term, which a target's own may be bent by, and its derivative
``merging.py``    the parts of whole rows, from those of disjoint columns
``outputs.py``    what else the parts tell: entropy, log-sum-exp, log-probability
================= ================================================================================
"""
