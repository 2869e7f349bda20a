"""Here before numpy is: each of the suite's many processes would take all cores for its BLAS."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
