"""The hot loops: one contract, several compilers.

The contract
------------
Scores come as a matrix ``(N, C)``; a kernel never sees a layout, an option's default or a user's
error. It reads each row once, keeps its sums in at least float32 (float64 for float64), and
returns *parts*, not the loss:

``maximum`` (N,)
    the largest score of the row, and
``log_sum`` (N,)
    ``log Σ exp(score − maximum)``, so that ``maximum + log_sum`` is the log-sum-exp.

They stay apart because their sum would round away the loss: at a common offset of 1e6 a float32
keeps no decimals. The negative log-probability of class ``c`` is
``log_sum + (maximum − score_c)``, right to rounding at any offset. Parts of disjoint column ranges
(or vocabulary shards) merge; losses do not.

A masked class has the score −inf: probability 0, no part in anything. A row with a NaN or +inf, or
with −inf alone, gives NaN and disturbs no other row.

``reference`` is NumPy and is the truth; every faster kernel is tested against it in float64.
"""
