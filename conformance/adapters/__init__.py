"""Decoders in Python made ready for the harness; the only part of the suite that imports a decoder."""
