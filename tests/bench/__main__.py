"""`PYTHONPATH=.:tests python -m bench`: all measurements of `make bench`."""

from bench.study import main

raise SystemExit(main())
