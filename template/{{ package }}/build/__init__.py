"""`python -m production.build` builds the pages: Reflex's part and the jobs after it, one file each."""
