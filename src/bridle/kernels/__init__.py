"""The hot loops: one contract, several compilers.

The contract
------------
Scores come as a matrix ``(N, C)`` with unit stride along the classes and any along the rows; a
kernel never sees a layout, an option's default or a user's error. It reads each row where it lies,
once from memory, keeps its sums in at least float32 (float64 for float64), and returns *parts*, not
the loss.

With ``z = softcap · tanh(score / softcap) / temperature`` (no cap if softcap is 0), these are

``maximum`` (N,)
    the largest ``z`` of the row, and
``log_sum`` (N,)
    ``log Σ exp(z − maximum)``, so that ``maximum + log_sum`` is the log-sum-exp;
``target_gap`` (N,)
    ``maximum − z[target]``, so that ``log_sum + target_gap`` is the loss; 0 for the target −1, no
    target;

and, where asked for, what label smoothing, distributions as targets, the entropy and the arg-max
take: see `bridle.kernels.contract`. All differences are taken inside, because a sum with the
maximum would round away the loss: at a common offset of 1e6 a float32 keeps no decimals. Parts of
disjoint column ranges (or vocabulary shards) merge; losses do not.

There is one gradient for all that is made of parts. With the probabilities p, the class weights w
and four coefficients for each row, which the caller knows,

    [p · (a + b · log p) − s · w · [class not masked] − t · [class = target]] · dz / dscore

where a distribution has ``t · w · target`` for the last term. It may overwrite the scores.

A masked class has the score −inf: probability 0, gradient 0, no part in anything. A row with a NaN
or +inf, or with −inf alone, gives NaN and disturbs no other row. A row whose coefficients are all 0
has the gradient 0, whatever it holds. A target that is neither a class nor −1 makes its row NaN.
The bits of a result depend neither on the number of threads nor on the rows beside.

``reference`` and ``rows_reference`` are NumPy and are the truth; every faster kernel is tested
against them in float64. ``cpu`` is compiled by numba, ``gpu`` by Triton. ``products`` holds the
matrix products of a linear head, ``residual_filter`` what may be left out of them, and
``sparse_products`` those of what few entries it leaves.
"""

# Below this many scores plain NumPy takes milliseconds. Above it a compiled kernel saves more than
# loading it costs; only the first call of all on a machine waits for the compiler.
# Measured on two cores, float32: loading numba and a kernel from its cache takes 0.4 s,
# compiling one 5 s. At 2¹⁷ scores a kernel saves 0.2 ms (1,000 classes) to 1 ms (10 classes) a
# call, at 2²⁰ 1.5 to 10 ms: what a few hundred, or fifty, calls bring in again.
COMPILED_NUMBERS = 2**20


def worth_compiling(count: int) -> bool:
    """Tell whether so many scores are worth loading, or even compiling, a kernel.

    >>> worth_compiling(1_000), worth_compiling(128_000_000)
    (False, True)
    """
    return count >= COMPILED_NUMBERS
