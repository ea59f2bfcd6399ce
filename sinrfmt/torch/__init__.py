"""The encoder: networks are fitted and their integers chosen with torch. Nothing else of the library imports torch."""
