"""The conformance suite of the SINR bitstream: vectors, the program that writes them, and the harness.

Nothing here imports a decoder.
"""
