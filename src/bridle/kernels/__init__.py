"""The hot loops: one contract, several compilers.

`contract`
    what a row of scores is reduced to, what its gradient is made of, and how parts merge.
`choose`
    the registry: which backend serves which device, dtype and size.
`thresholds`
    every measured number that chooses, or says how large a block is.
`numpy`, `numba`, `triton`
    the backends' kernels: the truth, and for a CPU; compiled for a CPU; compiled for a GPU.
`products`
    the matrix products of a linear head, on arrays.
`processors`, `threads`
    how many processors are free, and work for as many threads.
"""
