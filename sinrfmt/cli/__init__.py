"""The command line: ``sinrfmt encode | decode | inspect | verify``."""
