"""Other libraries that learn to read ``.sinr`` files. Each module imports its library and is imported by the caller."""
