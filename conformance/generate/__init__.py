"""Writer of the conformance vectors: standard library alone, independent of every decoder.

Each expected value comes from integers that a recipe chose; each expected error is predicted by its recipe.
`python -m conformance.generate` writes the vectors and the manifest, `--check` compares them with the files.
"""
