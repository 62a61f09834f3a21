"""How an optimum is found: generators that ask for sums over the data, and never read a row.

======================= ============================================================================
file                    subject
======================= ============================================================================
``solve.py``            which method a problem goes to; several problems in the same passes
``quasi_newton.py``     L-BFGS in a curvature metric, until the gap is proven
``metric.py``           that metric: Kronecker factors of the curvature
``remembered_steps.py`` what the last steps did to the gradient
``whole_hessian.py``    the whole curvature of a small problem
``newton_cg.py``        Newton's method by conjugate gradients, for sparse features
``few_rows.py``         Newton's method in the span of the rows, where they are few
``watch.py``            what is known of a fit while it runs, and who is told
======================= ============================================================================
"""
