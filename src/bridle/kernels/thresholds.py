"""Every measured number that chooses between implementations or says how large a block is.

Each stands with what was measured and the command that measures it again, from the folder above
``src``. "AMD" is two cores of an AMD EPYC (family 26, AVX-512), "Intel" two of an Intel Xeon (AMX),
"H200" one NVIDIA H200, "H100" one H100. Where a number was chosen without a measurement of its own,
that is said.
"""

# --- from how many scores on a compiled kernel serves ---------------------------------------------

# Arrays. Loading numba and a kernel from its cache takes 0.4 s, compiling one 5 s. At 2¹⁷ scores a
# kernel saves 0.2 ms (1,000 classes) to 1 ms (10 classes) a call over NumPy, at 2²⁰ 1.5 to 10 ms:
# what a few hundred, or fifty, calls bring in again. AMD, float32.
#     python benchmarks/losses.py --rounds 5
COMPILED_ARRAY_NUMBERS = 2**20

# Tensors on a CPU. Below it PyTorch's own operations take a millisecond or two. AMD, float32.
#     python benchmarks/losses.py --rounds 5
COMPILED_TENSOR_NUMBERS = 2**17

# A longer row goes to the compiled kernel however few there are: PyTorch would sum it in an order
# that depends on the number of threads. No measurement: where PyTorch begins to share out a sum.
SERIAL_COLUMNS = 2**15

# --- coordinate descent on a model of the objective -----------------------------------------------

# Numbers of its matrix from which on a compiled sweep serves. By NumPy one takes 0.09 ms of 64
# entries, 0.4 ms of 256; compiled 0.001 and 0.01 ms. A fit makes some two hundred of them; to load
# the compiled one takes 0.4 s, to compile it 1 s. Intel.
#     python benchmarks/fit_l1.py --quick
COMPILED_DESCENT = 2**17

# Products of sparse columns with each other go by the stored numbers alone where the dense product
# has so many times as many pairs of numbers. Of 10,000 rows it pays from 50 (500 columns) or 300
# (2,000) times as many on. Intel, two cores, beside other work.
THIN_PAIR = 200

# --- how work on a CPU is shared out --------------------------------------------------------------

# A call of fewer numbers is done before a second thread has begun.
#     python benchmarks/losses.py --rounds 5
NUMBERS_PER_THREAD = 2**16

# More ranges than threads, so that a thread that another process keeps waiting does not keep all
# waiting.
#     python benchmarks/busy.py
RANGES_PER_THREAD = 8

# --- rows of scores on a CPU (numba) --------------------------------------------------------------

# Wider rows go in blocks of this many columns, whatever the number of threads: a block, which is
# read twice, stays in cache; a few long rows keep all threads busy; no bit depends on their number.
#     python benchmarks/losses.py --rounds 5
BLOCK_COLUMNS = 2**16

# Up to so many classes, rows go side by side, one in each lane: for their parts, and for a gradient
# alone. Measured from 2 to 256 classes, in all dtypes. AMD.
#     python benchmarks/losses.py --rounds 5
LANES_CLASSES = 64
LANES_GRADIENT_CLASSES = 40

# --- PyTorch's own operations ---------------------------------------------------------------------

# Numbers of a block of rows: on a CPU few enough to stay in cache; elsewhere many enough to fill a
# device, with no measurement of its own.
#     python benchmarks/losses.py --rounds 5
PLAIN_BLOCK_NUMBERS = 2**16
PLAIN_DEVICE_BLOCK_NUMBERS = 2**22

# --- a linear head --------------------------------------------------------------------------------

# Bytes that the scores of a block take on a CPU, where SciPy's library makes the products: of
# 2048 × 512 × 32000 in float32 the whole takes 0.95 of PyTorch's three bare products. AMD.
#     python benchmarks/linear.py --rounds 3
BLAS_HEAD_BYTES = 2**24

# The same where PyTorch's library makes them: 1.16 of the bare products in blocks of 16 MiB, 1.10
# of 64 MiB, 0.93 of 128 MiB (SciPy's in blocks of 16 MiB: 1.35). Intel.
#     python benchmarks/linear.py --rounds 3
TORCH_HEAD_BYTES = 2**26

# The fewest rows that a product is efficient with; for very many classes this decides. AMD.
#     python benchmarks/linear.py --rounds 3
HEAD_FEWEST_ROWS = 256

# Multiplications below which a product is done before another library has been called.
#     python benchmarks/linear.py --rounds 3
BLAS_MULTIPLICATIONS = 2**24

# A product in half precision is added to its float32 sum in parts of so many numbers, which stay in
# cache; a matrix is made float32 in such parts. What is made narrower in its own memory goes
# through the second number beside. AMD.
#     python benchmarks/linear.py --rounds 3
HALF_PART_NUMBERS = 2**21
NARROWED_NUMBERS = 2**16

# On an accelerator: for at most half of the rows, at most so many bytes of scores (2³⁰ scores in
# half precision), at least so many rows; a few scores are made at once. H200.
#     python benchmarks/gpu.py
DEVICE_HEAD_BYTES = 2**31
DEVICE_HEAD_ROWS = 4096
DEVICE_HEAD_FEW_SCORES = 2**24

# --- the gradient filter of a linear head, on a CPU -----------------------------------------------

# Entries that are looked at together: where none is large and none is due, none is looked at alone.
# Shorter loops are not vectorised by the compiler.
#     python benchmarks/linear.py --filter --rounds 3
FILTER_GROUP = 64

# Where more than one entry in so many is left, a product over all of them may be quicker; in half
# precision, for which processors have faster products, more than one in twice as many. AMD.
#     python benchmarks/linear.py --filter --rounds 3
FILTER_SPARSE = 8

# Where a smaller part of the columns is left by a filter, copying them out pays.
#     python benchmarks/linear.py --filter --rounds 3
FILTER_COLUMNS = 0.7

# --- passes over features, on a CPU ---------------------------------------------------------------

# Ranges of rows that are summed apart, then together in their order, so that no bit depends on the
# number of threads; sums of shorter ones would take as long as the rows; all sums together take at
# most so many bytes. After so many rows a float32 sum goes on in float64. AMD.
#     python benchmarks/fit.py --data embedding-10 --Cs 1 --limit 60
PASS_RANGES = 32
PASS_SHORTEST_RANGE = 128
PASS_SUM_BYTES = 2**25
PASS_SUMMED_ROWS = 1024

# What a row of sparse features costs beside its entries: its sums are read and written.
#     python benchmarks/fit.py --data text-20 --Cs 1 --limit 60
SPARSE_ROW_AS_ENTRIES = 4

# Up to so many classes one reading of the rows wins over two products, by a factor of 2 to 3
# (measured from 2 to 64), in data of so many numbers: below, loading compiled code would take
# longer than all passes of a fit. AMD. On Intel two products are as fast from 24 classes on, and of
# 60,000 x 784 take 0.86 of the time with 48 classes, 0.78 with 57.
#     python benchmarks/fit.py --data embedding-10 --Cs 1 --limit 60
ONE_READING_CLASSES = 64
ONE_READING_CLASSES_ON_INTEL = 40
ONE_READING_NUMBERS = 2**24

# The fewest rows of a block: its scores take no more than the weights do; fewer make the products
# slow. AMD.
#     python benchmarks/fit.py --data embedding-200 --Cs 1 --limit 60
PASS_FEWEST_ROWS = 256

# A pass of so many multiplications is divided among threads, in pieces that are small beside the
# pass: a thread that has to wait for its processor then does not hold up the others. Each piece
# that is worked on has sums of its own.
#     python benchmarks/busy.py
SHARED_PASS = 2**23
SHARED_PASS_PIECES = 16
SHARED_PASS_PIECES_AT_A_TIME = 8

# Rows of such a piece, where its scores leave room: 50,000 x 512 with 1,000 classes take 0.62 s in
# pieces of 131 rows, 0.49 of 512, 0.45 of 2,084; with 200 classes 0.118 of 655, 0.108 of 2,084.
# Intel, two cores.
#     python benchmarks/fit.py --data embedding-1000 --Cs 1 --limit 60
SHARED_PASS_FEWEST_ROWS = 512

# Below so many multiplications a product gains nothing from a second thread; below the second
# number no library uses one. AMD.
#     python benchmarks/few_rows.py --rows 30 100
THREADED_PRODUCT = 2**23
SINGLE_THREADED = 2**18

# Weights of a problem so small that a fit takes no longer than looking for the libraries, 1 ms.
#     python benchmarks/fit.py --small
TINY_PROBLEM = 64

# Entries times classes of sparse features. Loading the kernels takes 0.4 s, compiling them some
# seconds; at this size they save some milliseconds a pass, and a fit takes ten to a hundred. AMD.
#     python benchmarks/fit.py --data text-20 --Cs 1 --limit 60
SPARSE_COMPILED_PRODUCTS = 2**24

# Scores of a block of sparse rows: what is gathered by feature stays close to the cache. AMD.
#     python benchmarks/fit.py --data text-20 --Cs 1 --limit 60
SPARSE_BLOCK_NUMBERS = 2**21
SPARSE_FEWEST_ROWS = 1024

# The part of the entries up to which scores are added up from the columns of the features that have
# weights, and of how many features one is looked at before all are. Not critical: such columns
# store a fiftieth of the text's entries at C = 3. Intel.
#     python benchmarks/fit_l1.py --data text-20 --penalties L1 --Cs 3 --peers
FEW_USED, GLANCED_FEATURES = 1 / 8, 97

# Numbers of a matrix that stay in a processor's cache from one operation to the next. Not timed.
CACHED_NUMBERS = 2**15

# What a fit on a device may take: blocks of 2¹⁷ rows of 1,000 classes in float64, and their
# features. Not timed.
FIT_DEVICE_BYTES = 2**32

# --- which solver serves, and what its matrices may cost, on a CPU --------------------------------

# Fits in the span of the rows. The products of all rows with each other cost as much as some passes
# over the features; with more rows than this, more than the passes of another method. Intel.
#     python benchmarks/few_rows.py
SPAN_ROWS = 2048
SPAN_ROWS_PER_FEATURE = 2

# Equations that are solved at once, in less time than conjugate gradients have begun. Intel.
#     python benchmarks/few_rows.py --rows 30 100
SPAN_EQUATIONS_AT_ONCE = 100

# Where rows are so many times the classes, their products are float32: that halves what they cost,
# and where rounding leaves the gap open (mostly at some 1e-6) one more step from the features' own
# scores, which takes four products with them, closes it. On one thread 0.75 of the time with 2 and
# with 100 classes. Intel.
#     python benchmarks/few_rows.py --rows 1000
SPAN_FLOAT32_ROWS_PER_CLASS = 8

# What features that are centred at a time may take of the budget, and the least there is of them.
# Few products of many columns are quicker than many of few: 1,000 x 5,000 in float32 take 25 ms at
# once, 36 in parts of 4 MiB. Intel.
#     python benchmarks/few_rows.py --rows 1000
CENTRED_SHARE = 8
CENTRED_LEAST_BYTES = 2**22

# The metric. Above so many features or classes, eigenproblems cost more than the passes that they
# save. The leading directions of wider features are shown by so many rows, of so many numbers.
#     python benchmarks/fit.py --data embedding-200 --Cs 1 --limit 60
METRIC_WIDEST = 2048
METRIC_MOST_CLASSES = 2048
METRIC_LEADING_ROWS = 1024
METRIC_LEADING_NUMBERS = 2**23

# The whole Hessian: its rows, and the multiplications that it takes, where nothing else should be
# tried, and where all else has failed. AMD.
#     python benchmarks/fit.py --small
HESSIAN_FIRST_CHOICE = 256, 2**27
HESSIAN_LAST_RESORT = 1024, 2**33
HESSIAN_BLOCK_NUMBERS = 2**21  # of a block of rows and its products

# --- networks, on a CPU ---------------------------------------------------------------------------

# A judged block's activations stay in cache. AMD.
#     python benchmarks/networks.py
NETWORK_JUDGED_ROWS = 512

# What NumPy multiplies in the better part of a second, and what the calls of a batch (0.2 ms) are
# worth in such products; of the digits 0.29 s for 4.5e8, compiled 0.03 s after 11 s. AMD.
#     python benchmarks/networks.py
NETWORK_PLAIN_PRODUCTS = 2**30
NETWORK_PRODUCTS_A_BATCH = 2**18

# What a step costs beside sparse features, by weight: 50 ns, with 3,000 words and with 20,000. AMD.
NETWORK_PRODUCTS_A_WEIGHT = 2**6

# --- rows of scores on a GPU (Triton) -------------------------------------------------------------

# A tile is of several rows where rows are short. It holds eight scores a thread, four of float64:
# the compiler for sm_90 then keeps all sums in registers. At twice that, float64 with all options
# spills thousands of bytes. Read off the compiler's report; not timed.
TILE_BYTES = 4096

# A wider row is split into blocks of columns, so that few rows still fill the device. Not timed.
WIDEST_ROW = 2**18
SPLIT_COLUMNS = 2**16

# --- class indices on a GPU (Triton): chosen by trial, as benchmarks/gpu.py measures --------------

# Rows of up to so many numbers are one thread's each, so many rows a program; the second number is
# for rows that are read four numbers at a time. Of 4,000,000 x 10 in float32: 0.83 of a copy's
# rate; with 64 and 128 rows 0.6 and 0.4. Of 2,000,000 x 20: 0.86, with four threads a row 0.58.
# H100.
FEW_CLASSES = 16
FEW_CLASSES_BY_FOUR = 24
FEW_CLASSES_ROWS = 32

# Rows of up to so many numbers stay in registers, from the first reading to the gradient. A thread
# holds so many bytes of a row, of which half precision takes four a number; a row has so many
# threads at least. Of 1,000,000 x 100 in float32: 0.96 of a copy's rate with 4 threads, 0.88 with
# 8, 0.53 with all 32 of a warp; in bfloat16 0.87, 0.79, 0.41. H100.
WHOLE_COLUMNS = 4096
THREAD_BYTES = 128
FEWEST_THREADS = 4

# Rows that are not read 16 bytes at a time have so many threads each that none reads more often
# than the row has threads, times so much (for reads of four bytes and more, and of two), and once
# more. Kernels' shares of a copy's rate, with 4, 8 and 16 threads a row: 65 in float32 0.73, 0.62,
# -; 101 0.45, 0.76, -; 201 -, 0.84, -; 333 -, -, 0.85. In bfloat16, two bytes at a time: 33 0.39,
# 0.20, -; 65 0.21, 0.38, -; 129 -, 0.49, -; 201 -, 0.37, 0.57. Few numbers take two threads: 17 in
# float32 0.62, with four 0.41; 25 0.36, 0.56. H200.
READS_OF_WORDS = 4
READS_OF_HALVES = 2
PAIRED_COLUMNS = 24
PAIRED_READS = 10

# Fewer rows than these do not fill a device: each is worked on by as many threads as there can be.
# Read off what a wide row's loop waits for (some 2 µs a tile, 0.6 ms for 1,000,000 numbers); its
# mend has not been timed.
FEW_ROWS = 64

# A row of up to so many bytes is read again while it is in cache: one program makes its loss and
# its gradient. Of wider rows, loss and gradient are made apart, by as many programs as there are
# tiles.
CACHED_BYTES = 2**17

# Up to so many rows, each program that makes losses also counts all labels for itself: a launch
# less, which takes the host longer than the labels' few kilobytes take a device.
COUNTED_ROWS = 1024

# Labels that a program sums at a time, and the most programs that do.
DIVISOR_NUMBERS = 4096
DIVISOR_PROGRAMS = 512

# Losses, or labels, that one program sums in a loop; more of both take several, which PyTorch's own
# kernel sums.
TOTAL_NUMBERS = 2**15

# --- a linear head with few features on a GPU (Triton) --------------------------------------------

# Of up to so many features, scores in half precision are made anew in place of being stored. Times
# over those of the three bare products, which are stored: 4096 x 64 x 1,000,000 1.08, stored 1.97;
# 4096 x 128 x 1,000,000 1.62, 1.98; 8192 x 64 x 100,000 1.25, 2.08; 8192 x 256 x 100,000 3.1, 1.63.
# H200, bfloat16.
#     python benchmarks/gpu.py --only heads
NARROW_FEATURES = 128

# Rows and classes that a program sees at a time, and its warps: for the sums, and for the gradients
# of features and head. Of 4096 x 64 x 1,000,000: 1.85 ms (64 x 64 on 4 2.05, 128 x 256 2.18), 2.57
# (64 x 64 3.18, 128 x 256 5.8), and 3.43 (128 x 64 3.77, 128 x 128 on 8 5.06). H200.
NARROW_SUMS_TILE = (128, 128, 8)
NARROW_FEATURES_TILE = (128, 128, 8)
NARROW_HEAD_TILE = (64, 64, 4)

# Rows whose losses a program makes: of each as many scores as rows, one of which is wanted. As many
# programs as these fill a device, two or four on each of its processors. Not timed.
NARROW_LOSS_ROWS = 64
NARROW_PROGRAMS = 512
