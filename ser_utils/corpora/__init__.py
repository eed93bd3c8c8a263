"""Where clips come from: the demo corpus, public corpora, and what may be wrong with either.

Notebook: 01_load.
"""
