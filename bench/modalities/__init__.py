"""One benchmark for each modality: files of this format beside those of others, in one run, as a table and a picture.

Every module is a command, ``python -m bench.modalities.NAME DATA``, that writes ``bench/results/modalities-NAME.csv``,
``.md`` and ``.png``; what they share is in :mod:`bench.modalities.tables`.
"""
